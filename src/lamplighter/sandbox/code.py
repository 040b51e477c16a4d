"""Code and layers, by digest, as what a sandbox is given: a detached read-only mount; in isolation "none" a path.

`code_root` belongs to the service, which may be compromised: so names are digests (checked by `messages`), links are
not followed, and a function's mount shows its own package and nothing beside it.
"""

import hashlib
import os
import shutil
import stat

from lamplighter.sandbox import linux

_READ_ONLY = linux.ATTR_RDONLY | linux.ATTR_NOSUID | linux.ATTR_NODEV


class Code:
    def __init__(self, code_root: str, run_dir: str) -> None:
        self._root = code_root
        self._run_dir = run_dir
        self._directory = os.open(code_root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def task(self, digest: str) -> int:
        """A descriptor of a mount for /var/task."""
        return _read_only(linux.clone_tree(self._directory, digest))

    def opt(self, layers: tuple[str, ...]) -> int:
        """A descriptor of a mount for /opt: the layers over one another, the last on top."""
        unique = [digest for i, digest in enumerate(layers) if digest not in layers[i + 1 :]]
        if len(unique) == 1:
            return self.task(unique[0])
        merge = os.path.join(self._run_dir, "merge")
        os.makedirs(merge, exist_ok=True)
        for digest in unique:  # overlayfs follows links in the paths it is given; a directory it must be
            status = os.stat(digest, dir_fd=self._directory, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(20, "layer is not a directory", digest)
        # Relative names keep the options short, and free of whatever characters the path to code_root has.
        os.fchdir(self._directory)
        try:
            linux.mount("overlay", merge, "overlay", linux.MS_RDONLY, "lowerdir=" + ":".join(reversed(unique)))
        finally:
            os.chdir("/")
        try:
            return _read_only(linux.clone_tree(-100, merge))
        finally:
            linux.unmount(merge)

    def places(
        self, digest: str, layers: tuple[str, ...], scratch: str, client: str | None, sdk: tuple[str, ...] = ()
    ) -> dict[str, str]:
        """Isolation "none": variables that say where the function's parts are on the host, and its /tmp, `scratch`."""
        task = os.path.join(self._root, digest)
        os.stat(task)
        places = {"LAMBDA_TASK_ROOT": task, "LAMBDA_RUNTIME_DIR": client or "/var/runtime", "TMPDIR": scratch}
        places |= {"LAMPLIGHTER_SDK": link_sdk(self._run_dir, sdk)} if sdk else {}
        return places | ({"LAMPLIGHTER_OPT": self._merged(layers)} if layers else {})

    def _merged(self, layers: tuple[str, ...]) -> str:
        name = "layers-" + hashlib.sha256(":".join(layers).encode()).hexdigest()[:32]
        merged = os.path.join(self._run_dir, name)
        if not os.path.isdir(merged):
            for digest in layers:
                shutil.copytree(os.path.join(self._root, digest), merged + "~", symlinks=True, dirs_exist_ok=True)
            os.rename(merged + "~", merged)
        return merged


def link_sdk(run_dir: str, sdk: tuple[str, ...]) -> str:
    """Isolation "none": a directory with nothing but links to these."""
    linked = os.path.join(run_dir, "sdk-" + hashlib.sha256(":".join(sdk).encode()).hexdigest()[:32])
    if not os.path.isdir(linked):
        os.mkdir(linked + "~")
        for part in sdk:
            os.symlink(part, os.path.join(linked + "~", os.path.basename(part)))
        os.rename(linked + "~", linked)
    return linked


def _read_only(tree: int) -> int:
    try:
        linux.restrict_mount(tree, _READ_ONLY)
    except OSError:
        os.close(tree)
        raise
    return tree
