"""The known public outcome tables, as data: what they are, where they come from, under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Remote:
    """One file of a data set. ``sha256`` is None where nobody published it."""

    url: str
    filename: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicDataset:
    """A public outcome table.

    Attributes:
        files: what ``get`` downloads, then converts from ``format``.
        aliases: further file names (without ending) under which the table may already lie in a folder.
        part_of: name of a larger data set and the prefix of its ``dataset`` column that makes up this one.
        ships: whether it comes with the package.
        by_hand: for data that ``get`` will not fetch: what to do instead.
    """

    name: str
    about: str
    licence: str
    source: str
    format: str = "long"
    files: tuple[Remote, ...] = ()
    aliases: tuple[str, ...] = ()
    part_of: tuple[str, str] | None = None
    ships: bool = False
    by_hand: str = ""


_MMLU_PRO = "https://github.com/TIGER-AI-Lab/MMLU-Pro/raw/964a136e98ff17f81b0cd11c15c70784f6ee4378/eval_results"
_MMLU_PRO_MODELS = (
    "DeepSeek-Coder-V2",
    "Meta-Llama-3_1-70B-Instruct",
    "Meta-Llama-3_1-8B-Instruct",
    "Mistral-7B-Instruct-v0.1",
    "Mistral-7B-Instruct-v0.2",
    "Mixtral-8x7B-Instruct-v0.1",
    "Phi-3-mini-4k-instruct",
    "Qwen1.5-72B-Chat",
    "Qwen1.5-7B-Chat",
    "Yi-6b-Chat",
    "c4ai-command-r-v01",
    "gemini-1.5-flash-002",
    "gemini-1.5-pro-002",
    "jamba-1.5-large",
    "mathstral-7B",
)
_ROUTELLM = "https://raw.githubusercontent.com/lm-sys/RouteLLM/0d78f127ffcda70413e36abe404b4f6c4cc10576/routellm/evals"
_MMLU = (
    "abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology college_chemistry "
    "college_computer_science college_mathematics college_medicine college_physics computer_security "
    "conceptual_physics econometrics electrical_engineering elementary_mathematics formal_logic global_facts "
    "high_school_biology high_school_chemistry high_school_computer_science high_school_european_history "
    "high_school_geography high_school_government_and_politics high_school_macroeconomics "
    "high_school_mathematics high_school_microeconomics high_school_physics high_school_psychology "
    "high_school_statistics high_school_us_history high_school_world_history human_aging human_sexuality "
    "international_law jurisprudence logical_fallacies machine_learning management marketing "
    "medical_genetics miscellaneous moral_disputes moral_scenarios nutrition philosophy prehistory "
    "professional_accounting professional_law professional_medicine professional_psychology "
    "public_relations security_studies sociology us_foreign_policy virology world_religions"
).split()
_LLMROUTER = (
    "https://raw.githubusercontent.com/ulab-uiuc/LLMRouter/17e4c6926999cacfc1828a400667027c2027228e/"
    "data/dcrouter_preprocessed"
)

_DATASETS = (
    PublicDataset(
        name="ladder",
        about="generated tasks of rising difficulty, answered by small models run locally",
        licence="Apache-2.0",
        source="part of this package",
        ships=True,
    ),
    PublicDataset(
        name="mmlu-pro-outcomes",
        about="MMLU-Pro, published answers of 15 models to 12,032 questions in 14 subjects",
        licence="Apache-2.0",
        source="https://github.com/TIGER-AI-Lab/MMLU-Pro",
        format="mmlu-pro",
        files=tuple(
            Remote(f"{_MMLU_PRO}/model_outputs_{model}_5shots.zip", f"model_outputs_{model}_5shots.zip")
            for model in _MMLU_PRO_MODELS
        ),
        aliases=("mmlupro", "mmlu-pro", "mmlu_pro"),
    ),
    PublicDataset(
        name="routellm-mmlu",
        about="RouteLLM's evaluation on MMLU: GPT-4-1106 and Mixtral-8x7B on 14,042 questions in 57 subjects",
        licence="Apache-2.0",
        source="https://github.com/lm-sys/RouteLLM",
        format="routellm",
        files=tuple(Remote(f"{_ROUTELLM}/mmlu/responses/mmlu_{topic}.csv", f"mmlu_{topic}.csv") for topic in _MMLU),
        aliases=("routellm_mmlu",),
        part_of=("routellm_mmlu_gsm8k", "mmlu"),
    ),
    PublicDataset(
        name="routellm-gsm8k",
        about="RouteLLM's evaluation on GSM8K: GPT-4-1106 and Mixtral-8x7B on 1,319 problems",
        licence="Apache-2.0",
        source="https://github.com/lm-sys/RouteLLM",
        format="routellm",
        files=(Remote(f"{_ROUTELLM}/gsm8k/gsm8k_responses.csv", "gsm8k_responses.csv"),),
        aliases=("routellm_gsm8k",),
        part_of=("routellm_mmlu_gsm8k", "gsm8k"),
    ),
    PublicDataset(
        name="llmrouter-14",
        about="LLMRouter's benchmark data: 9 models on about 6,000 prompts from 14 data sets",
        licence="MIT",
        source="https://github.com/ulab-uiuc/LLMRouter",
        format="llmrouter",
        files=(
            Remote(f"{_LLMROUTER}/train.json", "train.json"),
            Remote(f"{_LLMROUTER}/test.json", "test.json"),
        ),
        aliases=("llmrouter_dc", "llmrouter"),
    ),
    PublicDataset(
        name="routerbench",
        about="RouterBench: 11 models on 36,497 prompts, zero-shot",
        licence="none stated by the publisher: ask before you pass it on",
        source="https://huggingface.co/datasets/withmartian/routerbench",
        format="routerbench",
        files=(
            Remote(
                "https://huggingface.co/datasets/withmartian/routerbench/resolve/"
                "784021482c3f320c6619ed4b3bb3b41a21424fcb/routerbench_0shot.pkl",
                "routerbench_0shot.pkl",
                "ba4f77f19517610a707c374e99322d7750c30fc4ae7ff5527888595a1e65d36d",
            ),
        ),
        by_hand=(
            "it is published as a pickle, which can run code and is never loaded here; on an isolated "
            "machine run pandas.read_pickle('routerbench_0shot.pkl').to_csv('routerbench.csv', index=False), "
            "then: equipoise table convert routerbench.csv --out routerbench.parquet"
        ),
    ),
)

DATASETS: Mapping[str, PublicDataset] = MappingProxyType({dataset.name: dataset for dataset in _DATASETS})
