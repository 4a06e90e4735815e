"""How much one request may bring, and how long it may take: by the template of its route."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from starlette.routing import compile_path

# A batch of 4 MiB over a poor line.
BODY_S = 30.0


@dataclass(frozen=True, slots=True)
class Bound:
    """For one request: the bytes of its body, the time from the end of its head to that of its
    body, and whether the body may be compressed with gzip."""

    body_max_bytes: int
    body_s: float = BODY_S
    takes_gzip: bool = False


class Bounds:
    """`usual` holds for every route but those in `own`, by template (`/v1/claims/{claim_id}/...`).
    At most `requests_max` requests are under way at once.

    The paths of `hot`, and templates without a parameter, cost one look-up in a dict. Any other
    path is compared with each template of `own` that has a parameter.
    """

    def __init__(
        self,
        usual: Bound,
        own: Mapping[str, Bound],
        *,
        requests_max: int,
        hot: Collection[str] = (),
    ) -> None:
        self.requests_max = requests_max
        self.templates = frozenset(own)
        self._usual = usual
        self._exact = dict.fromkeys(hot, usual)
        self._patterns = []
        for template, bound in own.items():
            if "{" in template:
                self._patterns.append((compile_path(template)[0], bound))
            else:
                self._exact[template] = bound

    def of(self, path: str) -> Bound:
        """The bound of a request for this path. An exact template goes before a pattern."""
        bound = self._exact.get(path)
        return self._by_pattern(path) if bound is None else bound

    def _by_pattern(self, path: str) -> Bound:
        for pattern, bound in self._patterns:
            if pattern.match(path):
                return bound
        return self._usual
