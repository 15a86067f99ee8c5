"""The real Hub client of this process, turned to a Hub on the loopback interface."""

import contextlib
import types

import datasets
import huggingface_hub
import pytest
from huggingface_hub import constants, hf_api
from huggingface_hub.utils import _http
from transformers.utils import hub as transformers_hub

from tests.hub.loopback_hub import WRITE_TOKEN


@contextlib.contextmanager
def client_of(hub, home):
    """Turn the client of this process to a Hub, with caches of its own and no waiting.

    The client reads its environment when it is imported, so its constants are set here. Another
    process gets the same with the environment that is yielded.
    """
    values = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,  # its servers are not part of the loopback Hub
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setattr(constants, name, value)
        patch.setattr(hf_api.api, "endpoint", hub.url)
        patch.setattr(transformers_hub, "_hf_api", None)
        patch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        huggingface_hub.HfFileSystem.clear_instance_cache()
        patch.setenv("HF_TOKEN", WRITE_TOKEN)
        # Between its tries the client sleeps for up to 8 seconds.
        patch.setattr(_http, "time", types.SimpleNamespace(sleep=lambda seconds: None))
        huggingface_hub.close_session()
        yield {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HOME": str(home),
            "HF_TOKEN": WRITE_TOKEN,
            "OMP_NUM_THREADS": "1",
        }
        huggingface_hub.close_session()
