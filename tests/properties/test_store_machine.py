"""
The stores against a model, through restarts and crashes; ``HYPOTHESIS_PROFILE=deep`` does it at
length.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import hypothesis

from trio_hub import DiskKnowledgeStore, KnowledgeStore, MemoryKnowledgeStore
from trio_hub.testing.machines import StoreMachine
from trio_hub.testing.simulated_disk import SimulatedDisk


class MemoryStoreMachine(StoreMachine):
    def make_store(self) -> KnowledgeStore:
        return MemoryKnowledgeStore()


class DiskStoreMachine(StoreMachine):
    virtual_time = False

    def make_store(self) -> KnowledgeStore:
        self.folder = Path(tempfile.mkdtemp(prefix="trio_hub-test-"))
        return DiskKnowledgeStore(self.folder)

    def reopen(self, store: KnowledgeStore) -> KnowledgeStore:
        return DiskKnowledgeStore(self.folder)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


class CrashingStoreMachine(StoreMachine):
    def make_disk(self) -> SimulatedDisk:
        return SimulatedDisk(random.Random(0))

    def make_store(self) -> KnowledgeStore:
        self.disk = self.make_disk()
        return self.disk.store()

    def reopen(self, store: KnowledgeStore) -> KnowledgeStore:
        return self.disk.store()

    def crash(self, store: KnowledgeStore) -> KnowledgeStore:
        self.disk.cut_power()
        return self.disk.store()


TestMemoryStore = MemoryStoreMachine.TestCase
TestCrashingStore = CrashingStoreMachine.TestCase
TestDiskStore = DiskStoreMachine.TestCase

# A directory and files for each example of the disk store: only a few of them in every run.
if hypothesis.settings.get_current_profile_name() == "default":
    TestDiskStore.settings = hypothesis.settings(max_examples=5, stateful_step_count=20)
