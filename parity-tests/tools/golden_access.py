"""Golden answers of LiteLLM's own model access check, for src/auth/access.rs.

    LITELLM_LOCAL_MODEL_COST_MAP=True <python with litellm> parity-tests/tools/golden_access.py

Writes tests/golden/auth/access.json: the proxy's groups, and rows of
[model, models, key aliases, team aliases, team id, allowed].
"""
import itertools
import json
import pathlib

import litellm
from litellm.proxy._types import ProxyException
from litellm.proxy.auth.auth_checks import can_object_call_model

GROUPS = {
    "gpt-4o": [],
    "claude-sonnet-4-5": ["beta", "all-claude"],
    "my-model": ["beta"],
    "gpt-4o-mini": [],
    "fake": [],
}
router = litellm.Router(
    model_list=[
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_key": "k"},
            "model_info": {"access_groups": groups},
        }
        for name, groups in GROUPS.items()
    ]
)

MODELS = ["gpt-4o", "claude-sonnet-4-5", "my-model", "fake", "unknown", "openai/gpt-4o", "anthropic/claude-x",
          "openai/gpt-4o\n", "zone/gpt-4o", "claude-opus-4-9", "ft:gpt-4o:me", "a.b"]
LISTS = [
    [], ["*"], ["all-proxy-models"], ["all-team-models"], ["all-team-models", "fake"], ["no-default-models"],
    ["gpt-4o"], ["gpt-4o", "my-model"], ["beta"], ["all-claude"], ["beta", "gpt-4o"], ["openai/*"], ["anthropic/*"],
    ["claude-*"], ["*-4o"], ["gpt.4o"], ["gpt.4*"], ["*/gpt-4o"], ["openai/gpt-4o"], ["*o*"], ["**"], ["bedrock/*"],
    ["zone/*"], ["g*t*4*o"], ["gpt-4*x"], ["Gpt-4*"], [""], ["a.*"], ["a*.b"], ["*claude-x"], ["my-*", "openai/*"],
]
ALIASES = [
    ({}, {}), ({"gpt-4o": "fake"}, {}), ({"fake": "gpt-4o"}, {}), ({}, {"unknown": "gpt-4o"}),
    ({"gpt-4o": "my-model"}, {"unknown": "gpt-4o"}), ({"a": "b", "unknown": "a", "x": 1}, {}),
    ({"gpt-4o": "fake", "fake": "my-model"}, {"fake": "unknown"}),
]


def allowed(model, models, key, team_aliases, team):
    try:
        return can_object_call_model(
            model=model, llm_router=router, models=list(models), team_model_aliases=team_aliases or None, team_id=team,
            key_model_aliases={a: t for a, t in key.items() if isinstance(t, str)} or None, object_type="key",
        )
    except ProxyException:
        return False


rows = [
    [model, models, key, team_aliases, team, allowed(model, models, key, team_aliases, team)]
    for model, models, (key, team_aliases), team in itertools.product(MODELS, LISTS, ALIASES, [None, "t1"])
    # all of them without aliases and team, the rest where a rule of theirs can show
    if (not key and not team_aliases)
    or models in ([], ["gpt-4o"], ["my-model"], ["beta"], ["openai/*"], ["gpt-4o", "my-model"], ["all-team-models", "fake"])
]
target = pathlib.Path(__file__).parents[2] / "tests/golden/auth/access.json"
target.parent.mkdir(parents=True, exist_ok=True)
head = json.dumps(GROUPS)
target.write_text('{"groups":' + head + ',"rows":[\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]}\n")
print(len(rows), "rows,", sum(row[-1] is True for row in rows), "allowed")
