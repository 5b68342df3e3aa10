"""``hyperx serve``."""

from __future__ import annotations

import copy
import importlib.util
import os
import socket
from dataclasses import replace
from tempfile import TemporaryDirectory

from hyperx.cli.predict import checked_model
from hyperx.config import ServeConfig
from hyperx.errors import ConfigError
from hyperx.options import value_problems

PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; raises a ConfigError if none can."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        what = f"cannot listen at {host}:{port}: {error.strerror}"
        raise ConfigError([f"--port: {what}; name another, or --port 0 chooses a free one"]) from None


def serve(config: ServeConfig) -> None:
    """Answer requests until the process is asked to end, and then those that it holds."""
    problems = value_problems(config)
    folder, add_ons = checked_model(config, config.folder, problems)
    config = replace(config, folder=folder, add_on=add_ons)
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        problems.append(f'serving needs {", ".join(missing)}: pip install "hyperx-nlp[serve]"')
    if (most := config.max_sentences) > config.max_held:
        problems.append(f"--max_held: expected at least --max_sentences, {most}; found {config.max_held}")
    if problems:
        raise ConfigError(problems)
    listening(config.host, config.port).close()  # the processes open their own
    import uvicorn
    from uvicorn.config import LOGGING_CONFIG

    log_config = copy.deepcopy(LOGGING_CONFIG)
    log_config["loggers"]["hyperx"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    with TemporaryDirectory(prefix="hyperx-metrics-") as metrics:
        if config.workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        from hyperx.serving.app import OPTIONS, written

        os.environ[OPTIONS] = written(config)
        uvicorn.run(
            "hyperx.serving.app:app_of_environment",
            factory=True,
            host=config.host,
            port=config.port,
            workers=config.workers,
            log_config=log_config,
            access_log=False,
            timeout_keep_alive=75,  # longer than a proxy keeps its connections
            timeout_graceful_shutdown=int(config.timeout) + 5,
            timeout_worker_healthcheck=60,  # while a worker imports, it does not say that it is well
        )
