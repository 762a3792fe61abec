"""Google's own library: one answer whole, one as a stream, and a count. Prints all that came, as JSON."""

import json
import os

from google import genai
from google.genai import types

options = types.HttpOptions(base_url=os.environ["URL"])
client = genai.Client(api_key=os.environ["TOKEN"], http_options=options)
ask = {
    "model": "gemini-3.8-flash",
    "contents": "Say something.",
    "config": types.GenerateContentConfig(max_output_tokens=1000),
}
whole = client.models.generate_content(**ask)
chunks = list(client.models.generate_content_stream(**ask))
count = client.models.count_tokens(model=ask["model"], contents=ask["contents"])
dumped = {"exclude": {"sdk_http_response"}, "mode": "json"}
used = [part.usage_metadata for part in (whole, chunks[-1])]
usages = [
    {
        "input": usage.prompt_token_count,
        "output": usage.candidates_token_count + usage.thoughts_token_count,
    }
    for usage in used
]
came = {
    "whole": whole.model_dump(**dumped),
    "chunks": [chunk.model_dump(**dumped) for chunk in chunks],
    "count": count.total_tokens,
}
texts = [whole.text, "".join(chunk.text or "" for chunk in chunks)]
print(json.dumps({"came": came, "texts": texts, "usages": usages}))
