"""Where the devices of a sample are at home: countries by share, with their codes, a city and its surroundings."""

from dataclasses import dataclass

import numpy as np

from schemas.countries import country_of_mcc


@dataclass(frozen=True)
class Place:
    """`latitude` and `longitude` are the middle of the area in which its people move about, degrees."""

    country: str
    share: float
    latitude: float
    longitude: float
    calling_code: str


# The shares of the regions: cn .40, in .20, eu .15, ru .08, us .07, and .10 elsewhere, Greater China included.
PLACES = (
    Place("CN", 0.400, 30.57, 104.07, "86"),
    Place("IN", 0.200, 19.08, 72.88, "91"),
    Place("RU", 0.080, 55.75, 37.62, "7"),
    Place("US", 0.070, 39.74, -104.99, "1"),
    Place("DE", 0.030, 50.11, 8.68, "49"),
    Place("FR", 0.025, 45.76, 4.84, "33"),
    Place("ES", 0.022, 40.42, -3.70, "34"),
    Place("IT", 0.022, 45.46, 9.19, "39"),
    Place("PL", 0.020, 52.23, 21.01, "48"),
    Place("NL", 0.012, 52.09, 5.12, "31"),
    Place("SE", 0.006, 59.33, 18.07, "46"),
    Place("RO", 0.005, 44.43, 26.10, "40"),
    Place("NO", 0.005, 59.91, 10.75, "47"),
    Place("IS", 0.002, 64.15, -21.94, "354"),
    Place("LI", 0.001, 47.14, 9.52, "423"),
    Place("ID", 0.020, -6.21, 106.85, "62"),
    Place("BR", 0.015, -23.55, -46.63, "55"),
    Place("GB", 0.012, 52.48, -1.90, "44"),
    Place("SG", 0.010, 1.35, 103.82, "65"),
    Place("HK", 0.010, 22.32, 114.17, "852"),
    Place("TW", 0.009, 25.03, 121.57, "886"),
    Place("MX", 0.008, 19.43, -99.13, "52"),
    Place("TR", 0.008, 41.01, 28.98, "90"),
    Place("CH", 0.005, 46.95, 7.45, "41"),
    Place("MO", 0.003, 22.20, 113.55, "853"),
)
SHARES = np.array([place.share for place in PLACES]) / sum(place.share for place in PLACES)
COUNTRIES = tuple(place.country for place in PLACES)
CHINA = COUNTRIES.index("CN")

_FIRST_MCC = {country: mcc for mcc, country in sorted(country_of_mcc().items(), reverse=True)}
MCCS = np.array([_FIRST_MCC[country] for country in COUNTRIES])
