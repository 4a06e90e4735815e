"""The settings are consistent, and the key is hard to guess."""

import os
from collections.abc import AsyncIterator

from service.config import Misconfigured
from service.doctor.check import CheckResult, Patient, fault, ok, warning

# A key with fewer different characters is not random.
KEY_VARIETY_MIN = 10


async def check_settings(patient: Patient) -> AsyncIterator[CheckResult]:
    settings = patient.settings
    if settings.sandbox:
        yield warning("no engine is named: this is a sandbox", "for real claims set both URLs")
    else:
        for name, url in (("DATABASE", settings.database_url), ("REDIS", settings.redis_url)):
            if url is None:
                yield fault(f"BUTIE_{name}_URL is not set", "set both URLs, or neither")
        if settings.clock not in (None, "now"):
            yield fault("BUTIE_CLOCK sets the clock", "unset it: here the clock is the real one")
    try:
        key = settings.personal_data_keys()[-1]
    except Misconfigured as error:
        yield fault("the personal-data key cannot be used", str(error))
    else:
        if not settings.sandbox and len(set(key)) < KEY_VARIETY_MIN:
            yield fault("BUTIE_PII_KEY is easily guessed", "make one: openssl rand -hex 32")
    cores = os.cpu_count() or 1
    if settings.workers > cores:
        yield warning(
            f"{settings.workers} workers on {cores} cores", f"set BUTIE_WORKERS to {cores} or less"
        )
    if settings.host not in ("127.0.0.1", "::1", "localhost") and not settings.rate_limit_per_s:
        yield warning(f"open on {settings.host} without a rate limit", "set BUTIE_RATE_LIMIT_PER_S")
    yield ok(f"jurisdiction {settings.jurisdiction}, {settings.workers} workers")
