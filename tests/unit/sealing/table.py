"""Data keys in memory, by the rules of `sealing.store.KeepsKeys`, counting how often they are looked for."""

from penstock.base import errors


class Table:
    """What several sealers share, as processes share a database."""

    def __init__(self):
        self.rows = {}
        self.keks = {}
        self.looks = 0
        self.before_insert = lambda: None

    async def newest(self, tenant, purpose):
        self.looks += 1
        found = [row for name, row in sorted(self.rows.items()) if name[:2] == (tenant, purpose)]
        return found[-1] if found else None

    async def find(self, tenant, purpose, generation):
        self.looks += 1
        return self.rows.get((tenant, purpose, generation))

    async def insert(self, key):
        self.before_insert()
        if self.keks.setdefault(key.kek_id, "live") != "live":
            raise errors.Rejected("sealing_key_retired", "replaced", status=409)
        return self.rows.setdefault((key.tenant, key.purpose, key.generation), key) is key

    async def adopt(self, kek_id):
        if not self.keks:
            self.keks[kek_id] = "live"
        return sorted(id for id, state in self.keks.items() if state != "emptied")
