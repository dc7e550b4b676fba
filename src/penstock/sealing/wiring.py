"""Settings become a ring of keys: which service wraps from now on, and which others still open."""

from pathlib import Path

from penstock.sealing import keys, model, ports
from penstock.sealing.settings import SealingSettings


def ring(chosen: SealingSettings, file: Path) -> model.KeyRing:
    """The keys of the settings; `file` (`keys.default_file`) is the current one when they name none.

    Raises Rejected `sealing_key_missing`, `sealing_key_wrong` or `bad_setting`. No service is called.
    """
    if chosen.service != "vault":
        local = keys.load(chosen, file)
        return model.KeyRing(local.current, (*local.old, *_vault(chosen)))
    found = _vault(chosen)
    return model.KeyRing(found[0], keys.named(chosen))


def _vault(chosen: SealingSettings) -> tuple[ports.KeyService, ...]:
    if not chosen.vault_url:
        return ()
    # Late: an HTTP client takes longer to load than most verbs take to run.
    from penstock.sealing.adapters import key_service_vault

    access = key_service_vault.Access(
        token=chosen.vault_token,
        token_file=chosen.vault_token_file,
        namespace=chosen.vault_namespace,
        ca_file=chosen.vault_ca_file,
    )
    service = key_service_vault.VaultKeyService(
        chosen.vault_url,
        mount=chosen.vault_mount,
        key=chosen.vault_key,
        access=access,
        timeout_s=chosen.vault_timeout_s,
    )
    return (service,)
