"""The command's frame: quick help, exit codes, errors with their next step, and silence when the reader leaves."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from alphakite import __version__
from alphakite.cli.main import COMMANDS, build, main
from alphakite.errors import ConfigError, FatalError, UnavailableError, UsageError

CLI = Path(sys.modules["alphakite"].__path__[0]) / "cli"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[object], int]], None]:
    """Put a command of the test's own in the place of `health`."""

    def install(run: Callable[[object], int]) -> None:
        module = types.ModuleType("alphakite.cli.health")
        module.add_parser = lambda subparsers: subparsers.add_parser("health")  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "alphakite.cli.health", module)

    return install


def raising(error: BaseException) -> Callable[[object], int]:
    def run(_args: object) -> int:
        raise error

    return run


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_help_lists_every_command_and_imports_none() -> None:
    """`alphakite --help` loads no command and none of the libraries behind them."""
    code = (
        "import sys; from alphakite.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "loaded = [n for n in sys.modules if n.split('.')[0] in ('asyncio','httpx','asyncpg','aiohttp','rich','picows')"
        " or n.startswith('alphakite.cli.') and n != 'alphakite.cli.main']\n"
        "assert not loaded, loaded"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"    {name} " in done.stdout
    assert "4 a" in done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version of the package."""
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"alphakite {__version__}\n"


def test_the_table_names_every_command_module() -> None:
    """One file per command, each in the table; beside them what commands share, and the demo's second panel."""
    files = {path.stem for path in CLI.glob("*.py")} - {"__init__", "main", "output", "demo_chain", "database_words"}
    files -= {"db_lint", "db_prune", "db_room"}
    assert files == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_states_its_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`alphakite X --help` works and names 0 to 4; only X is described."""
    with pytest.raises(SystemExit) as end:
        build(name).parse_args([name, "--help"])
    assert end.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"usage: alphakite {name}" in shown
    for part in ("0 done", "1 the answer is no", "2 wrong use", "3 a setting is wrong", "4 a part we need is away"):
        assert part in shown


@pytest.mark.parametrize("argv", [[], ["frobnicate"], ["config", "--frobnicate"]])
def test_wrong_use_is_two(argv: list[str]) -> None:
    """No command, an unknown one, an unknown flag."""
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [(FatalError("x"), 1), (UsageError("x"), 2), (ConfigError("x"), 3), (UnavailableError("x", next_step="y"), 4)],
)
def test_errors_become_exit_codes(
    command: Callable[[Callable[[object], int]], None],
    capsys: pytest.CaptureFixture[str],
    error: FatalError,
    code: int,
) -> None:
    """The message and the next step on stderr, nothing on stdout."""
    command(raising(error))
    assert main(["health"]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "alphakite: x\n" + ("next: y\n" if error.next_step else "")


def test_an_unreadable_path_is_an_error_and_a_bug_is_not_hidden(
    command: Callable[[Callable[[object], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """An OSError that names a file is the user's to mend; any other exception keeps its traceback."""
    command(raising(PermissionError(13, "Permission denied", "/some/where")))
    assert main(["health"]) == 4
    assert "alphakite: /some/where: Permission denied" in capsys.readouterr().err
    command(raising(OSError("no name")))
    with pytest.raises(OSError, match="no name"):
        main(["health"])


def test_ctrl_c_is_130(command: Callable[[Callable[[object], int]], None]) -> None:
    """As shells expect."""
    command(raising(KeyboardInterrupt()))
    assert main(["health"]) == 130


def test_a_reader_that_leaves_is_no_error() -> None:
    """`alphakite config | head -0` ends quietly, also at the interpreter's last flush."""
    with subprocess.Popen(
        [sys.executable, "-m", "alphakite", "config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


def test_config_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every setting with value and origin; secrets only as set or unset; later names as unused."""
    file = tmp_path / "my.env"
    file.write_text("SCHWAB_APP_KEY=my-key\nSCHWAB_APP_SECRET=my-secret\nDASHBOARD_PORT=8080\n")
    argv = ["config", "--env-file", str(file), "--data", str(tmp_path), "--batch-size", "7"]
    assert main([*argv, "--json"]) == 0
    text = capsys.readouterr().out
    found = json.loads(text)
    assert found["schema"] == 1
    settings = {one["name"]: (one["value"], one["origin"]) for one in found["settings"]}
    assert settings["SCHWAB_APP_KEY"] == ("set", f"{file}:1")
    assert settings["DATABASE_URL"] == ("unset", "default")
    assert settings["BATCH_SIZE"] == ("7", "flag --batch-size")
    assert settings["DATA_DIR"] == (str(tmp_path), "flag --data")
    assert found["unused"] == [{"name": "DASHBOARD_PORT", "origin": f"{file}:3"}]
    assert main(argv) == 0
    text += capsys.readouterr().out
    assert "not used by this version" in text
    assert not any(secret in text for secret in ("my-key", "my-secret", "my-role"))


def test_a_wrong_setting_is_three(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The message names the flag."""
    assert main(["config", "--data", str(tmp_path), "--batch-size", "0"]) == 3
    assert "BATCH_SIZE is '0' (flag --batch-size)" in capsys.readouterr().err
