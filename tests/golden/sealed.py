"""Writes sealed.json: values encrypted by LiteLLM's own functions, and what it decrypts them to (null: it cannot).
Run with the reference environment's Python:  python tests/golden/sealed.py > tests/golden/sealed.json"""
import json
import os

from litellm.proxy.common_utils import encrypt_decrypt_utils as utils

TEXTS = ["", "x", "gpt-4o", "openai/gpt-4o", "sk-a-provider-key", "os.environ/OPENAI_API_KEY", "https://a.example/v1",
         "ünï\u00e7ode \U0001f600", "a" * 15, "b" * 16, "c" * 200]
SALTS = ["sk-1234", "", "s\u00e4lt"]


def sealed(algorithm, text, salt):
    utils._get_encryption_algorithm = lambda: algorithm
    return utils.encrypt_value_helper(text, new_encryption_key=salt) if salt else None


def opened(value, salt):
    os.environ["LITELLM_SALT_KEY"] = salt
    try:
        return utils._decrypt_with_signing_key(value, salt)
    except Exception:
        return None


rows = []
for algorithm in (utils._ALGO_XSALSA20, utils.ALGO_AES_GCM):
    for salt in SALTS:
        for text in TEXTS:
            value = sealed(algorithm, text, salt)
            if value is not None:
                assert opened(value, salt) == text
                rows.append({"salt": salt, "sealed": value, "plain": text})
    value = sealed(algorithm, "another key", "sk-other")
    rows.append({"salt": "sk-1234", "sealed": value, "plain": opened(value, "sk-1234")})
    broken = value[:-8] + "AAAAAAA="
    rows.append({"salt": "sk-other", "sealed": broken, "plain": opened(broken, "sk-other")})
for value in ["", "plain", "openai/gpt-4o", "v2:gcm:", "v2:gcm:AAAA", "AAAA", "A" * 56, "A" * 40]:
    rows.append({"salt": "sk-1234", "sealed": value, "plain": opened(value, "sk-1234")})
print(json.dumps(rows, indent=1))
