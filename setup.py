"""douane: a streaming pipeline for device telemetry that enforces a privacy policy.

Ranges live here; the exact versions, with hashes, in requirements.lock.
"""

from setuptools import find_packages, setup

setup(
    name="douane",
    version="0.1.0",
    description="A streaming pipeline for device telemetry that enforces a privacy policy",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["schemas", "schemas.*", "transforms", "transforms.*", "pipelines", "pipelines.*"]),
    package_data={"schemas": ["*.yaml", "packs/*/*.yaml", "packs/*/*/*.yaml"], "pipelines": ["pages/*"]},
    install_requires=[
        "apache-beam>=2.77,<2.78",
        "cryptography>=50,<51",
        "google-re2>=1.1.20251105",
        "jinja2>=3.1.6,<4",
        "msgspec>=0.22,<0.23",
        "numpy>=2.2,<2.5",
        "phonenumberslite>=9.0.42,<10",
        "pyarrow>=25.0.1,<26",
        "pydantic>=2.12,<3",
        "python-dp>=1.1.5,<1.2",
        "python-stdnum>=2.2,<3",
        "pyyaml>=6.0.2,<7",
        "zstandard>=0.25,<0.26",
    ],
    extras_require={
        "dev": [
            "duckdb>=1.4",
            "hypothesis>=6.150",
            "matplotlib>=3.10,<4",
            "pytest>=9,<10",
            "pytest-xdist>=3.8,<4",
            "ruff>=0.15",
            "setuptools>=80,<83",
            "wheel",
        ],
        "gcp": ["apache-beam[gcp]>=2.77,<2.78"],
        "kafka": ["confluent-kafka>=2.16,<3"],
    },
    entry_points={"console_scripts": ["douane=pipelines.__main__:main"]},
)
