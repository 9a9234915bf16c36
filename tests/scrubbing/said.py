"""What people are called, when they were born, and what they are told to type: nobody's but by accident."""

from random import Random

from tests.scrubbing.drawing import digits, syllables


def person_name(rng: Random) -> str:
    names = [syllables(rng).capitalize() for _ in range(rng.choice((2, 2, 2, 3)))]
    return f" {rng.choice(('van ', 'de ', 'von ', '', '', ''))}".join((" ".join(names[:-1]), names[-1]))


def one_time_code(rng: Random) -> str:
    return digits(rng, rng.choice((4, 6, 6, 8)))


def birth_date(rng: Random) -> str:
    year, month, day = rng.randint(1930, 2012), rng.randint(1, 12), rng.randint(1, 28)
    return rng.choice((f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}", f"{day}/{month}/{year}"))
