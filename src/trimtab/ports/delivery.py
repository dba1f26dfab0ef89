"""Handing over what shall serve, where it is not the loop that changes it: into a repository that a cluster follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Served:
    """A version with its bundle, the digest that the registry vouches for, and where its store keeps it."""

    version: str
    digest: str
    bundle: Path
    uri: str = ""


@dataclass(frozen=True)
class Wanted:
    """What shall serve. Percentages are whole numbers of all requests; `previous` is kept warm as the way back."""

    champion: Served
    challenger: Served | None = None
    candidate_percent: int = 0
    mirror_percent: int = 0
    previous: Served | None = None


@dataclass(frozen=True)
class Why:
    """What led there: the turn's number and its decisions as the ledger keeps them, oldest first."""

    turn: int = 0
    decisions: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Delivered:
    """What the repository holds after a look. `known` names its content; `champion` and `digest` are what it says."""

    known: str = ""
    champion: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Asked:
    """A change that a person accepts or refuses. `opened`: it was seen open before, so that its end can be told."""

    key: str
    wanted: Wanted
    why: Why
    opened: bool = False


@dataclass(frozen=True)
class Answer:
    """How it stands with what was asked; `who` merged or closed it, if that is known."""

    state: Literal["open", "merged", "closed"]
    url: str = ""
    who: str = ""


class Delivery(Protocol):
    """The repository. Methods raise DeliveryConflict for a person's edit, DeliveryFailed if it is out of reach."""

    def deliver(
        self,
        wanted: Wanted | None,
        known: str,
        why: Why,
        asked: Wanted | None = None,
        withdrawn: Wanted | None = None,
    ) -> Delivered:
        """Make this what the repository says; the same again changes nothing, and None only looks.

        Only content that `known` names, or that was `withdrawn`, is replaced. Where it says what was `asked`, somebody
        has accepted that, and it stays.
        """
        ...

    def ask(self, asked: Asked) -> Answer:
        """Ask people for this change, once a key; returns how it stands."""
        ...

    def withdraw(self, key: str, why: str) -> None:
        """Ask no longer; nothing happens if it was answered."""
        ...
