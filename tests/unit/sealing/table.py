"""Data keys in memory, by the rules of `sealing.store.KeepsKeys`, counting how often they are looked for."""

from penstock.sealing import model


class Table:
    """What several sealers share, as processes share a database."""

    def __init__(self):
        self.rows = {}
        self.keks = {}
        self.retired = set()
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
        if key.kek_id not in self.keks or key.kek_id in self.retired:
            return False
        return self.rows.setdefault((key.tenant, key.purpose, key.generation), key) is key

    async def known(self):
        return [model.KnownKey(id, proof, id in self.retired) for id, proof in self.keks.items()]

    async def adopt(self, id, proof):
        if not self.keks:
            self.keks[id] = proof
