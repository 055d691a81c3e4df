"""Any OpenAI-compatible chat endpoint: vLLM, SGLang, llama.cpp or OpenVINO servers, a proxy, or a hosted model.

`backend` runs a pool of daemon threads over one client of the openai SDK (`client`), whose retries are off: `call`
makes the attempts of a request, with back-off and `Retry-After` (`waiting`). `replies` and `refusals` read what comes
back in whatever shape; `terms` keeps what the endpoint was found not to take; `patience` tells a row's failure from the
endpoint's; `keys` keeps what nobody may read out of every file, log and message.

An endpoint takes text, not ids. Untrusted text is escaped (`reasrm.protocol.escaping`), which is weaker than the
encoder of the local backends. Options of the chat template go along as `chat_template_kwargs`, which vLLM and SGLang
servers know; where they are refused they are left out, which is said. The key comes from the environment variable
`OPENAI_API_KEY` only.
"""

from reasrm.generation.endpoint.backend import EndpointBackend

__all__ = ["EndpointBackend"]
