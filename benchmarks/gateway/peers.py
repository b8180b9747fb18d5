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
  - model_name: {name}
    litellm_params: {{model: openai/canned, api_base: "{upstream}/v1", api_key: upstream}}
{more}general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false}}
"""
# Two models, one of which its own rules choose by the prompt, in the process.
_ROUTED = """\
  - model_name: large
    litellm_params: {{model: openai/canned, api_base: "{upstream}/v1", api_key: upstream}}
  - model_name: auto
    litellm_params:
      model: auto_router/complexity_router
      complexity_router_config: {{tiers: {{SIMPLE: small, MEDIUM: small, COMPLEX: large, REASONING: large}}}}
"""


def litellm(folder: Path, *, routed: bool = False) -> Contender | None:
    """LiteLLM's proxy: one worker, a master key, no database and no log. It chooses between models if ``routed``."""
    program = folder / "litellm" / "bin" / "litellm"
    if not program.exists():
        return None

    def command(port: int, upstream: str, place: Path) -> list[str]:
        config = place / "config.yaml"
        more = _ROUTED.format(upstream=upstream) if routed else ""
        name = "small" if routed else "auto"
        config.write_text(_LITELLM.format(upstream=upstream, key=_LITELLM_KEY, name=name, more=more))
        settings = ["env", "LITELLM_LOG=ERROR", "LITELLM_LOCAL_MODEL_COST_MAP=True"]
        return [*settings, str(program), "--config", str(config), "--port", str(port), "--num_workers", "1"]

    return Contender("litellm-routed" if routed else "litellm", command, {"Authorization": f"Bearer {_LITELLM_KEY}"})


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
    found = (litellm(folder), litellm(folder, routed=True), portkey(folder))
    return [one for one in found if one is not None]
