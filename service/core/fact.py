"""One value of the rules and how sure we are of it, and the types that values have."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from service.core.money import WHOLE_BP

T = TypeVar("T")

Basis = Literal["stated", "adopted", "assumed"]

Fen = Annotated[int, Field(gt=0, le=10_000_000_000)]
Rate = Annotated[int, Field(gt=0, le=WHOLE_BP, description="basis points: 1500 is 15 %")]
Share = Annotated[int, Field(ge=0, le=WHOLE_BP, description="basis points of the whole")]
Count = Annotated[int, Field(gt=0, le=10_000_000_000)]
OneLine = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Frozen(BaseModel):
    """No coercion, no unknown field, no change once read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Fact(Frozen, Generic[T]):
    """One value of the rules, and how sure we are of it.

    `source` is a key of the policy's sources. An assumed value has none; its `note` says
    what is not known. `id` is the path of the fact in the file, without the policy's id.
    """

    value: T
    basis: Basis
    source: str | None = None
    note: OneLine | None = None
    id: str = Field(alias="@id")

    @property
    def text(self) -> str:
        """The value as it is written in a file."""
        return str(self.value).lower() if isinstance(self.value, bool) else str(self.value)
