"""Other gateways, if they are installed: how each is started before the same upstream, and called.

python -m venv DIR/litellm && DIR/litellm/bin/pip install 'litellm[proxy]'
npm install --prefix DIR/portkey @portkey-ai/gateway
"""

from __future__ import annotations

import shutil
from pathlib import Path

from equipoise.gateway.bench.rounds import Contender

_LITELLM_KEY = "sk-bench-0123456789"
_LITELLM = """\
model_list:
  - model_name: auto
    litellm_params: {{model: openai/canned, api_base: "{upstream}/v1", api_key: upstream}}
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false}}
"""


def litellm(folder: Path) -> Contender | None:
    """LiteLLM's proxy: one worker, a master key, no database. It does not choose between models here."""
    program = folder / "litellm" / "bin" / "litellm"
    if not program.exists():
        return None

    def command(port: int, upstream: str, place: Path) -> list[str]:
        config = place / "config.yaml"
        config.write_text(_LITELLM.format(upstream=upstream, key=_LITELLM_KEY))
        settings = ["env", "LITELLM_LOG=ERROR", "LITELLM_LOCAL_MODEL_COST_MAP=True"]
        return [*settings, str(program), "--config", str(config), "--port", str(port), "--num_workers", "1"]

    return Contender("litellm", command, {"Authorization": f"Bearer {_LITELLM_KEY}"})


def portkey(folder: Path, upstream_header: str = "x-portkey-custom-host") -> Contender | None:
    """Portkey's gateway, which takes its upstream from a header of the call. It knows neither keys nor a log here."""
    program = folder / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    node = shutil.which("node")
    if node is None or not program.exists():
        return None
    return Contender(
        "portkey",
        lambda port, upstream, _: [node, str(program), f"--port={port}", "--headless"],
        {"x-portkey-provider": "openai", upstream_header: "{upstream}/v1", "Authorization": "Bearer upstream"},
    )


def installed(folder: Path) -> list[Contender]:
    """The peers that are there."""
    return [one for one in (litellm(folder), portkey(folder)) if one is not None]
