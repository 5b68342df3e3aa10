"""Repositories of the Hugging Face hub: their names, what is fetched from them and written into them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hyperx.config import PushConfig
from hyperx.errors import CheckpointError, HyperXError

# The library is imported where it is needed: what is on this machine is found without waiting for it.

SECONDS = 10.0
"""How long an answer of the hub is waited for before the cache is looked into."""
ADD_ON = ".addon"
"""How the name of an add-on ends in a repository."""
_REPO = r"\w[\w.-]*/\w[\w.-]*"
_ADDRESS = re.compile(
    rf"(?:hf:/+)?(?P<repo>{_REPO})(?:@(?P<revision>[^@]+?))?(?:/(?P<file>[\w.-]+\{ADD_ON}))?", re.ASCII
)
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the hub is asked; the names are those of the Hugging Face libraries, which say what stands for None."""

    revision: str | None = None
    cache_dir: str | Path | None = None
    token: str | bool | None = None
    local_files_only: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """A place on the hub, written ``owner/name``, ``owner/name@revision`` or, of an add-on, ``owner/name/gsw.addon``;
    also behind ``hf://``."""

    repo: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def read(cls, path: str | Path) -> Address | None:
        """The place that a path may mean if there is no such file or folder; None if it is no address."""
        found = _ADDRESS.fullmatch(str(path))
        return None if found is None else cls(**found.groupdict())


def fetched(address: Address, names: Sequence[str], access: Access) -> Path:
    """The folder in the hub's cache with those of the named files (or patterns) that a repository has; nothing else is
    fetched.

    Raises:
        CheckpointError: if it cannot be had, with the reason and what to do, or a file is none of the repository's own.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *values: Any, **options: Any) -> None:  # in a terminal, and gone when done
            super().__init__(*values, **{"disable": None, "leave": False, **options})  # type: ignore[no-untyped-call]

    if address.revision and access.revision:
        raise CheckpointError(f"{address.repo} has two revisions, {address.revision} and {access.revision}: name one")
    revision = address.revision or access.revision
    try:
        folder = Path(
            snapshot_download(
                address.repo,
                **asdict(replace(access, revision=revision)),
                allow_patterns=[*names],
                etag_timeout=SECONDS,
                library_name="hyperx",
                tqdm_class=Bar,
            )
        )
    except Exception as error:  # a lost connection is an exception of the HTTP library, which differs by version
        raise CheckpointError(reason(error, address.repo, revision)) from error
    cache = folder.resolve().parents[2]  # its files are links to what repositories share there
    for path in (path for name in names for path in folder.glob(name)):
        real = path.resolve()
        if not (real.is_file() and real.is_relative_to(cache)):
            raise CheckpointError(f"{path} is no regular file of the hub's cache; delete {folder}, and try again")
    return folder


def is_fetched(folder: Path) -> bool:
    """Whether a folder is of the hub's cache, so that nothing is written into it."""
    return folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")


def upload(folder: Path, config: PushConfig, *, replaced: Sequence[str], token: str | bool | None = None) -> str:
    """Write the files of a folder into the repository that the options name, as one commit, and delete those of the
    names ``replaced`` that the folder lacks. Returns the address of the commit; a HyperXError has the reason if it
    cannot be written."""
    repo, revision = config.repo or "", config.revision
    if not re.fullmatch(_REPO, repo, re.ASCII):
        raise HyperXError(f"expected a repository of the hub, OWNER/NAME; found {repo!r}")
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="hyperx")
    try:
        api.create_repo(repo, private=config.private or None, exist_ok=True)
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo, branch=revision, exist_ok=True)
        message = config.message or "Upload a model of Hyper-X"
        return api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=message, revision=revision, delete_patterns=[*replaced]
        ).commit_url
    except Exception as error:
        raise HyperXError(f"{repo} cannot be written: {reason(error, repo, revision, writes=True)}") from error


def reason(error: BaseException, repo: str, revision: str | None, *, writes: bool = False) -> str:
    """Why the hub or its cache does not give something, or does not take it, and what to do, in one line."""
    from huggingface_hub import constants, errors

    found, address = [error], f"{constants.ENDPOINT}/{repo}"
    while (cause := found[-1].__cause__) is not None:
        found.append(cause)
    at = "" if revision is None else f" at revision {revision}"
    status = {getattr(getattr(one, "response", None), "status_code", None) for one in found}

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(one, kinds) for one in found)

    if among(errors.GatedRepoError):
        return f"{repo} is gated: ask for access at {address}, then {_LOG_IN}"
    if among(errors.OfflineModeIsEnabled):
        need = "the hub is not asked" if writes else f"{repo} is not in the hub's cache{at}"
        return f"{need}, as HF_HUB_OFFLINE is set; unset it to go online"
    if among(errors.RevisionNotFoundError):
        return f"{repo} has no revision {revision}; name a branch, a tag or a commit of {address}"
    if among(errors.LocalTokenNotFoundError):
        return f"there is no token on this machine; {_LOG_IN}"
    if 403 in status:
        return f"your token may not {'write to' if writes else 'read'} {repo}; use one that may, or ask its owner"
    if any("Invalid credentials" in str(one) for one in found):
        return f"the hub does not know your token; {_LOG_IN}"
    if 401 in status and writes:
        return f"the hub asks who you are; {_LOG_IN}"
    if among(errors.RepositoryNotFoundError) or 401 in status:
        return f"the hub has no {repo} that you may see; check its name, and if it is private {_LOG_IN}"
    if among(errors.LocalEntryNotFoundError) and len(found) == 1:
        return f"{repo} is not in the hub's cache{at}, and only the cache was to be asked (local_files_only)"
    if faults := {one for one in status if one is not None and one >= 500}:
        return f"the hub has a fault of its own, status {', '.join(map(str, faults))}; try again later"
    told = next((one for one in found if isinstance(one, errors.HfHubHTTPError)), found[-1])
    words = f"{type(told).__name__} {' '.join(str(told).split())}".rstrip(".")
    # The HTTP library is another one in other versions.
    if among(ConnectionError) or "TransportError" in {kind.__name__ for one in found for kind in type(one).__mro__}:
        return f"the hub cannot be reached ({words}); check the network, or name a local folder"
    return words
