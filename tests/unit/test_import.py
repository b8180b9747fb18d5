"""``import equipoise`` is light, and everything that it promises is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import equipoise

HEAVY = ("scipy", "pyarrow", "matplotlib", "genai_prices", "torch", "aiohttp")


def test_importing_loads_nothing_heavy() -> None:
    code = f"import sys, equipoise; print([m for m in {HEAVY} if m in sys.modules], equipoise.__version__)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["[]", equipoise.__version__]


def test_routing_a_prompt_loads_nothing_that_only_learning_needs(tmp_path: Path) -> None:
    code = (
        "import sys; from equipoise.cli.main import main; main(['route', 'hi']); "
        "print([m for m in ('scipy', 'pyarrow', 'matplotlib', 'aiohttp', 'torch') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert told.stdout.splitlines()[-1] == "[]"


def test_serving_loads_nothing_that_only_learning_needs(tmp_path: Path) -> None:
    code = (
        "import sys; from equipoise.cli.main import main; main(['init']); status = main(['serve', '--check']); "
        "print(status, [m for m in ('scipy', 'pyarrow', 'matplotlib', 'torch') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert told.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("name", equipoise.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(equipoise, name) is not None


def test_completion_offers_the_public_names_and_nothing_else() -> None:
    assert set(dir(equipoise)) == set(equipoise.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Enginee'"):
        _ = equipoise.Enginee  # type: ignore[attr-defined]


def test_python_dash_m_is_the_command() -> None:
    told = subprocess.run([sys.executable, "-m", "equipoise", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"equipoise {equipoise.__version__}\n"
