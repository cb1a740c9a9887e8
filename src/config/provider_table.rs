//! Names out of LiteLLM 1.106.2 that decide a deployment's provider. Data only; written by `tests/golden/tables.py`.

/// `litellm.provider_list` and the JSON-configured providers: first path segments that name a provider
#[rustfmt::skip]
pub(super) const PROVIDERS: &[&str] = &[
    "a2a", "a2a_agent", "abliteration", "ai21", "ai21_chat", "aihubmix", "aiml", "aiohttp_openai", "amazon_nova",
    "anthropic", "anthropic_text", "apertis", "assemblyai", "auto_router", "aws_polly", "aws_textract", "azure",
    "azure_ai", "azure_speech", "azure_text", "baseten", "bedrock", "bedrock_mantle", "black_forest_labs", "bytez",
    "cerebras", "charity_engine", "chatgpt", "chutes", "clarifai", "cloudflare", "codestral", "cognition", "cohere",
    "cohere_chat", "cometapi", "compactifai", "cortecs", "crusoe", "cursor", "custom", "custom_openai", "darkbloom",
    "dashscope", "databricks", "datarobot", "deepgram", "deepinfra", "deepseek", "docker_model_runner", "dotprompt",
    "edenai", "elevenlabs", "empiriolabs", "empower", "fal_ai", "featherless_ai", "fireworks_ai", "friendliai",
    "galadriel", "gdc", "gemini", "gigachat", "github", "github_copilot", "gmi", "gradient_ai", "groq", "helicone",
    "heroku", "hosted_vllm", "huggingface", "humanloop", "hyperbolic", "inception", "infinity", "jina_ai",
    "lambda_ai", "langflow", "langfuse", "langgraph", "lemonade", "libertai", "litellm_agent", "litellm_proxy",
    "llamafile", "llamagate", "lm_studio", "manus", "maritalk", "meta", "meta_llama", "milvus", "minimax", "mistral",
    "modelscope", "mongodb", "moonshot", "morph", "nadir", "nano-gpt", "nebius", "neosantara", "nlp_cloud", "novita",
    "nscale", "nvidia_nim", "nvidia_riva", "oci", "ollama", "ollama_chat", "oobabooga", "openai", "openai_like",
    "openrouter", "ovhcloud", "parasail", "perplexity", "petals", "pg_vector", "pinstripes", "poe", "predibase",
    "prism", "publicai", "qwen_ai_platform", "qwencloud", "ragflow", "recraft", "reducto", "reka", "replicate",
    "runwayml", "s3_vectors", "sagemaker", "sagemaker_chat", "sagemaker_nova", "sail", "sambanova", "sap", "sarvam",
    "scaleway", "scx-ai", "snowflake", "soniox", "stability", "strands_decider", "synthetic", "tencent",
    "tensormesh", "text-completion-codestral", "text-completion-inception", "text-completion-openai", "together_ai",
    "topaz", "transcribe", "triton", "typesafe", "v0", "valkey", "veniceai", "vercel_ai_gateway", "vertex_ai",
    "vertex_ai_beta", "vllm", "volcengine", "voyage", "wandb", "watsonx", "watsonx_text", "xai", "xiaomi_mimo",
    "xinference", "zai",
];

/// `litellm.openai_compatible_endpoints`: an `api_base` there belongs to another provider than OpenAI
#[rustfmt::skip]
pub(super) const ENDPOINTS: &[&str] = &[
    "api.perplexity.ai", "api.endpoints.anyscale.com/v1", "api.deepinfra.com/v1/openai", "api.mistral.ai/v1",
    "codestral.mistral.ai/v1/chat/completions", "codestral.mistral.ai/v1/fim/completions", "api.groq.com/openai/v1",
    "https://integrate.api.nvidia.com/v1", "https://api.getnadir.com/v1", "api.deepseek.com/v1",
    "api.together.ai/v1", "api.together.xyz/v1", "app.empower.dev/api/v1", "https://api.friendli.ai/serverless/v1",
    "api.sambanova.ai/v1", "api.x.ai/v1", "ollama.com", "api.galadriel.ai/v1", "api.llama.com/compat/v1/",
    "api.featherless.ai/v1", "inference.api.nscale.com/v1", "api.studio.nebius.ai/v1",
    "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "https://api-inference.modelscope.cn/v1", "https://api.moonshot.ai/v1", "https://api.publicai.co/v1",
    "https://api.synthetic.new/openai/v1", "https://serverless.tensormesh.ai/v1", "https://api.stima.tech/v1",
    "https://nano-gpt.com/api/v1", "https://api.poe.com/v1", "https://llm.chutes.ai/v1/", "https://api.v0.dev/v1",
    "https://api.morphllm.com/v1", "https://api.lambda.ai/v1", "https://api.inceptionlabs.ai/v1",
    "https://api.hyperbolic.xyz/v1", "https://ai-gateway.helicone.ai/", "https://ai-gateway.vercel.sh/v1",
    "https://api.edenai.run/v3", "https://api.inference.wandb.ai/v1", "https://api.clarifai.com/v2/ext/openai/v1",
    "https://api.libertai.io/v1", "https://pinstripes.io/v1", "https://api.meta.ai/v1",
    "https://api.sailresearch.com/v1", "https://api.cognition.ai/v1", "https://api.cortecs.ai/v1",
    "https://api.scx.ai/v1", "https://api.prisminference.com/v1", "https://api.reka.ai/v1",
    "https://gigachat.devices.sberbank.ru/api/v1",
];
