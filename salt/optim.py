"""A face: optimisers by the module that upstream has them in."""

from salt.training.muon import HybridMuonAdamW

__all__ = ["HybridMuonAdamW"]
