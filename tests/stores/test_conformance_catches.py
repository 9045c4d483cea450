"""The conformance suite is itself tested: a store that breaks a rule fails the checks of that rule, no others."""

from __future__ import annotations

import faulty
import pytest
from faulty import Faulty

from holdfast.stores.memory import MemoryStore
from holdfast.testing import CHECKS, Broken, NotConforming, conformance

CAUGHT: dict[type[Faulty], set[str]] = {
    faulty.CreateOverwrites: {"put-if-free", "expired-present", "tombstone", "commit-after-expiry"},
    faulty.CreateOverwritesTombstones: {"tombstone"},
    faulty.CreateLooksFirst: {"put-if-free"},
    faulty.CommitLooksFirst: {"parallel-changes", "counting"},
    faulty.CommitReplacesAllValues: {"a-change", "parallel-changes", "size-limit", "odd-keys-and-values"},
    faulty.CommitChangesInPlace: {"a-change"},
    faulty.CommitForgetsTheOwner: {"a-change", "owner-index"},
    faulty.BaseIsIgnored: {"conflict", "counting", "large-versions"},
    faulty.ConflictCarriesAnEmptyRecord: {"conflict"},
    faulty.RepeatIsAppliedAgain: {"repeat"},
    faulty.CommitCreates: {"commit-after-end"},
    faulty.CommitRevives: {"commit-after-end"},
    faulty.ExpiryIsIgnored: {"commit-after-expiry", "clock-skew"},
    faulty.ExpiryIsLateByAMoment: {"commit-after-expiry"},
    faulty.ExpiryIsJudgedByTheStoresClock: {"clock-skew"},
    faulty.EarlierClocksLose: {"clock-skew"},
    faulty.ExpiredIsHidden: {"expired-present", "commit-after-expiry", "sweeping"},
    faulty.SealsVanish: {"commit-after-expiry", "sweeping"},
    faulty.EndDeletes: {"tombstone", "sweeping", "weak-negative"},
    faulty.EndNeedsARecord: {"tombstone", "sweeping"},
    faulty.EndKeepsTheValues: {"tombstone", "weak-negative"},
    faulty.WeakMissIsRemembered: {"weak-negative"},
    faulty.LargeValuesAreCut: {"size-limit"},
    faulty.NamesAreNormalised: {"odd-keys-and-values"},
    faulty.EmptyValuesAreDropped: {"odd-keys-and-values"},
    faulty.VersionsAreDoubles: {"large-versions"},
    faulty.TimesAreWholeSeconds: {"a-change", "large-versions"},
    faulty.IndexKeepsTheEnded: {"owner-index"},
    faulty.IndexMissesALogin: {"owner-index"},
    faulty.SweepTakesTheLiving: {"sweeping"},
    faulty.SweepLeavesTombstones: {"sweeping"},
    faulty.SweepTakesSealsAtOnce: {"sweeping"},
    faulty.SweepLeavesSeals: {"sweeping"},
    faulty.SweepDoesNotCount: {"sweeping"},
    faulty.ScanSkipsOneBetweenPages: {"scanning"},
    faulty.ScanEndsEarly: {"scanning"},
    faulty.ScanMissesWhatChanges: {"scanning"},
    faulty.ScanKeepsItsPlaceToItself: {"scanning"},
    faulty.ScanNeverEnds: {"scanning"},
    faulty.ScanPlacesHaveControlCharacters: {"scanning"},
    faulty.ScanShowsTheEndedAsLive: {"scanning"},
    faulty.OlderCopyReplacesNewer: {"copies"},
    faulty.RanksAreDoubles: {"copies"},
    faulty.EqualRanksKeepTheFirst: {"copies"},
    faulty.PutFillsAnEmptyPlace: {"copies"},
    faulty.PutTakesTheClaimsPlace: {"claims"},
    faulty.ClaimsAreNotChecked: {"claims"},
    faulty.ClaimsAreCopies: {"claims"},
    faulty.ClaimsKeepCopiesOut: {"claims"},
    faulty.EveryClaimHolds: {"claims"},
    faulty.MissingIsNoError: {"commit-after-end", "commit-after-expiry", "clock-skew"},
}


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("fault", CAUGHT, ids=lambda fault: fault.__name__)
def test_a_fault_is_caught_by_the_checks_of_its_rule(fault: type[Faulty], colour: str) -> None:
    """Exactly the checks fail whose rule the store breaks, and the error names them."""
    with pytest.raises(NotConforming) as caught:
        conformance(fault, colour=colour)
    assert {name for name, _ in caught.value.failures} == CAUGHT[fault]
    assert all(name in str(caught.value) for name in CAUGHT[fault])


def test_every_check_has_a_fault_that_it_catches() -> None:
    """No check is there in vain."""
    assert set.union(*CAUGHT.values()) == {check.name for check in CHECKS}


def test_the_store_that_the_faults_are_seeded_in_is_sound() -> None:
    """Without a fault, the same store passes everything: what turns red is the fault."""
    conformance(Faulty)


def test_one_check_can_be_tried_alone() -> None:
    """A check that is not asked for does not fail."""
    by_name = {check.name: check for check in CHECKS}
    conformance(faulty.SweepDoesNotCount, [by_name["repeat"], by_name["tombstone"]])
    with pytest.raises(NotConforming, match="1 of 1 checks failed: sweeping") as caught:
        conformance(faulty.SweepDoesNotCount, [by_name["sweeping"]], colour="sync")
    assert isinstance(caught.value.__cause__, Broken)


def test_what_a_store_does_not_offer_is_not_asked_of_it() -> None:
    """A store without an owner index and without sweeping conforms."""

    class Plain:
        def __init__(self) -> None:
            store = MemoryStore()
            self.create, self.load, self.commit, self.end = store.create, store.load, store.commit, store.end

    conformance(Plain)
