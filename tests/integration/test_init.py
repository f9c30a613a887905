"""`alphakite init`: on pipes, on a terminal, again; what it writes is what the settings then are."""

from __future__ import annotations

import argparse
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alphakite.cli import auth
from alphakite.cli.main import main
from alphakite.config import Settings, load

SOURCE = str(Path(sys.modules["alphakite"].__path__[0]).parent)
KEY, SECRET = "k" * 32, "s" * 16


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(folder: Path, answers: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a script calls it: each answer a line of stdin."""
    return subprocess.run(
        [sys.executable, "-m", "alphakite", "init", *words],
        input=answers,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": SOURCE} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings(folder: Path, name: str = ".env") -> Settings:
    return load(argparse.Namespace(env_file=str(folder / name)), environ={})


def test_six_answers_make_a_settings_file(folder: Path) -> None:
    """Defaults are shown, an empty line takes them; the file is its owner's alone; the end says what to type."""
    done = call(folder, f"{KEY}\n{SECRET}\n\nqqq, $spx\n{folder}/data\n\n", "--no-auth")
    assert done.returncode == 0, done.stderr
    found = settings(folder)
    assert (found.schwab_app_key, found.schwab_app_secret) == (KEY, SECRET)
    assert found.schwab_callback_url == "https://127.0.0.1:8182"
    assert found.tickers == ("QQQ", "$SPX") and found.data_dir == folder / "data" and found.database_url == ""
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    assert "next: alphakite auth    then: alphakite run" in done.stdout
    assert "[https://127.0.0.1:8182]" in done.stderr and "note" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    before = (folder / ".env").read_bytes()
    again = call(folder, "", "--no-auth")
    assert again.returncode == 0 and "nothing was missing" in again.stdout
    assert (folder / ".env").read_bytes() == before


def test_what_is_there_stays(folder: Path) -> None:
    """Comments, order, settings of every other kind; only what is asked changes."""
    file = folder / "my.env"
    file.write_text(f"# mine\nBATCH_SIZE=7\n\nSCHWAB_APP_KEY={KEY}\nSTREAM_TICKER=SPY # one\nDATABASE_URL=\n")
    file.chmod(0o644)
    done = call(folder, f"{SECRET}\n\n\n", "--no-auth", "--env-file", "my.env")
    assert done.returncode == 0, done.stderr
    text = file.read_text()
    assert text.startswith(f"# mine\nBATCH_SIZE=7\n\nSCHWAB_APP_KEY={KEY}\nSTREAM_TICKER=SPY # one\nDATABASE_URL=\n")
    found = settings(folder, "my.env")
    assert (found.batch_size, found.tickers, found.schwab_app_secret) == (7, ("SPY",), SECRET)
    assert file.stat().st_mode & 0o777 == 0o600 and "could be read by others" in done.stderr
    assert "alphakite run --env-file my.env" in done.stdout
    flagged = call(folder, "", "--no-auth", "--env-file", "my.env", "--stream-ticker", "QQQ")
    assert flagged.returncode == 0 and settings(folder, "my.env").tickers == ("QQQ",)
    assert "# mine\nBATCH_SIZE=7\n" in file.read_text()


@pytest.mark.parametrize("secret", ["with # hash", " inner space ", "quo'te\"d", "back\\slash#", "$HOME", "ünïcode"])
def test_every_secret_reads_back_equal(folder: Path, secret: str) -> None:
    """From the environment, without a question, whatever characters it has; an odd length is a note."""
    words = ("--no-auth", "--embedded", "--stream-ticker", "QQQ", "--schwab-callback-url", "https://127.0.0.1:8182")
    done = call(folder, "", *words, "--data", "data", SCHWAB_APP_KEY=KEY, SCHWAB_APP_SECRET=secret)
    assert done.returncode == 0, done.stderr
    found = settings(folder)
    assert found.schwab_app_secret == secret.strip()
    assert found.data_dir == folder / "data"
    assert "Schwab's app secrets have 16 or 64" in done.stderr
    assert secret.strip() not in done.stdout + done.stderr


def test_a_slash_at_the_end_is_pointed_out(folder: Path) -> None:
    """It may be right, and breaks every login if it is not."""
    done = call(folder, f"{KEY}\n{SECRET}\nhttps://127.0.0.1:8182/\n\n\n\n", "--no-auth")
    assert done.returncode == 0 and "ends in a slash" in done.stderr
    assert settings(folder).schwab_callback_url == "https://127.0.0.1:8182/"


@pytest.mark.parametrize(
    ("answers", "words", "code", "said"),
    [
        ("", (), 2, "SCHWAB_APP_KEY is missing and stdin has ended"),
        (f"{KEY}\n\n", (), 3, "SCHWAB_APP_SECRET: an answer is needed"),
        (f"{KEY}\n{SECRET}\nhttp://127.0.0.1\n", (), 3, "SCHWAB_CALLBACK_URL: must be the callback address"),
        (f"{KEY}\n{SECRET}\n\nQ Q Q\n", (), 3, "STREAM_TICKER: must be tickers"),
        (f"{KEY}\n{SECRET}\n\n\n\nmysql://x\n", (), 3, "DATABASE_URL: must be postgresql://"),
        ("", ("--stream-ticker", "?"), 2, "SCHWAB_APP_KEY"),
        (f"{KEY}\n{SECRET}\n\n", ("--stream-ticker", "?"), 3, "STREAM_TICKER (a flag): must be tickers"),
    ],
)
def test_a_wrong_answer_writes_nothing(
    folder: Path, answers: str, words: tuple[str, ...], code: int, said: str
) -> None:
    """The exit code of its kind; a file is made only once all is answered."""
    done = call(folder, answers, "--no-auth", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and "next: " in done.stderr
    assert not (folder / ".env").exists()
    assert SECRET not in done.stderr


def test_a_wrong_value_in_the_file_is_asked_for_again(folder: Path) -> None:
    """And a file that stays wrong elsewhere is named, with its line."""
    (folder / ".env").write_text(
        f"SCHWAB_APP_KEY={KEY}\nSCHWAB_APP_SECRET={SECRET}\nSTREAM_TICKER=Q Q\nDATABASE_URL=\n"
        "SCHWAB_CALLBACK_URL=https://127.0.0.1\nDATA_DIR=d\nSTREAM_TICKERS=X\n"
    )
    done = call(folder, "SPY\n", "--no-auth")
    assert done.returncode == 3 and ".env:7: unknown setting STREAM_TICKERS" in done.stderr
    assert "STREAM_TICKER=SPY\n" in (folder / ".env").read_text()


def test_on_a_terminal_secrets_are_not_echoed_and_mistakes_are_asked_again(folder: Path) -> None:
    """A real terminal: the typed secret never comes back; an illegal ticker is explained and asked for again."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        words = [sys.executable, "-m", "alphakite", "init", "--no-auth", "--embedded"]
        os.execve(sys.executable, words, os.environ | {"PYTHONPATH": SOURCE})
    shown = ""
    dialogue = (
        ("App key", KEY),
        ("App secret", SECRET),
        ("Callback", ""),
        ("Tickers", "Q?"),
        ("must be tickers", ""),
        ("Data folder", ""),
    )
    deadline = time.monotonic() + 60
    for prompt, answer in dialogue:
        start = len(shown)
        while prompt not in shown[start:] or not shown.rstrip(" ").endswith(":"):
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 4096).decode()
        os.write(terminal, answer.encode() + b"\n")
    while time.monotonic() < deadline:
        try:
            piece = os.read(terminal, 4096).decode()
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert "next: alphakite auth" in shown
    assert SECRET not in shown and KEY not in shown
    assert settings(folder).schwab_app_secret == SECRET and settings(folder).tickers == ("QQQ",)


def test_it_goes_on_to_the_sign_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same settings file; its exit code is ours; a sign-in that lasts is not asked for again."""
    seen: list[argparse.Namespace] = []
    codes = [4, 0]

    def sign_in(args: argparse.Namespace) -> int:
        seen.append(args)
        return codes.pop(0)

    monkeypatch.setattr(auth, "run", sign_in)
    for name, value in (("SCHWAB_APP_KEY", KEY), ("SCHWAB_APP_SECRET", SECRET)):
        monkeypatch.setenv(name, value)
    words = ["init", "--env-file", "my.env", "--embedded", "--stream-ticker", "QQQ", "--data", "data"]
    words += ["--schwab-callback-url", "https://127.0.0.1:8182"]
    assert main([*words, "--no-browser"]) == 4
    assert "next: alphakite run" not in capsys.readouterr().out
    assert main(words) == 0
    assert "next: alphakite run --env-file my.env" in capsys.readouterr().out
    assert [(one.env_file, one.no_browser, one.action) for one in seen] == [
        ("my.env", True, None),
        ("my.env", False, None),
    ]
    monkeypatch.setattr(auth, "collect", lambda _settings: {"login_needed": False})
    assert main(words) == 0
    assert len(seen) == 2
