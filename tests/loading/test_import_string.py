"""What each mistake in `module:attribute` is called; the texts are pinned."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kqworker.app.app import App
from kqworker.core.retry import Retry
from kqworker.errors import ConfigError
from kqworker.loading.import_string import load_app

APP = """
from kqworker import App

app = App("orders")

@app.handler(topic="test")
def on_test(value: str) -> None: ...
"""

HANDLER = 'write @app.handler(topic="…", …), everything by its name'

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Writes a file to import; the path and the modules are put back afterwards."""
    path, modules = list(sys.path), set(sys.modules)

    def write(name: str, text: str) -> None:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def refusal(reference: str, tmp_path: Path, factory: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        load_app(reference, str(tmp_path), factory)
    lines = str(caught.value).replace(str(tmp_path), "DIR").splitlines()
    # Each Python has its own mind about what to underline.
    return "\n".join(line for line in lines if not line or line.strip(" ~^"))


def test_an_app_is_loaded_from_its_directory(write: Write, tmp_path: Path) -> None:
    write("orders_app.py", APP)

    app = load_app("orders_app:app", str(tmp_path))

    assert isinstance(app, App) and [h.name for h in app.handlers] == ["orders_app.on_test"]
    assert sys.path[0] == str(tmp_path)
    load_app("orders_app:app", str(tmp_path))
    assert sys.path.count(str(tmp_path)) == 1


def test_the_current_directory_is_searched_when_none_is_given(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("here_app.py", APP)
    monkeypatch.chdir(tmp_path)

    assert load_app("here_app:app").name == "orders"


def test_module_and_attribute_may_have_dots(write: Write, tmp_path: Path) -> None:
    write("shop/__init__.py", "")
    write("shop/jobs.py", f"{APP}\nclass Holder:\n    inner = app\n")

    assert load_app("shop.jobs:Holder.inner", str(tmp_path)).name == "orders"


def test_a_factory_is_called(write: Write, tmp_path: Path) -> None:
    write("made_app.py", f"{APP}\ndef make():\n    return app\n")

    assert load_app("made_app:make", str(tmp_path), factory=True).name == "orders"


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("app", "'app' names no app: expected module:attribute; try: app:app"),
        ("app.py", "'app.py' is a file, not module:attribute; try: app:app"),
        ("app.py:main", "'app.py:main' is a file, not module:attribute; try: app:main"),
        (
            "src/app.py:app",
            "'src/app.py:app' is a file, not module:attribute; try: app:app --app-dir src",
        ),
        ("", "'' is not module:attribute, such as app:app"),
        (":app", "':app' is not module:attribute, such as app:app"),
        ("app:", "'app:' names no app: expected module:attribute; try: app:app"),
        ("app:a:b", "'app:a:b' is not module:attribute, such as app:app"),
        ("my-app:app", "'my-app:app' is not module:attribute, such as app:app"),
        ("..app:app", "'..app:app' is not module:attribute, such as app:app"),
    ],
)
def test_what_is_not_a_reference_is_told_what_one_is(
    reference: str, text: str, tmp_path: Path
) -> None:
    assert refusal(reference, tmp_path) == text


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("jobs", "'jobs' names no app: expected module:attribute; try: jobs:orders or jobs:more"),
        ("shop", "'shop' names no app: expected module:attribute; try: shop:inner"),
        ("jobs.more", "'jobs.more' names no app: expected module:attribute; try: jobs:more"),
        ("shop.jobs", "'shop.jobs' names no app: expected module:attribute; try: shop.jobs:app"),
        ("jobs.py", "'jobs.py' is a file, not module:attribute; try: jobs:orders or jobs:more"),
        (
            "shop/jobs.py",
            "'shop/jobs.py' is a file, not module:attribute; try: jobs:app --app-dir shop",
        ),
    ],
)
def test_what_the_file_defines_is_tried_where_no_attribute_is_given(
    reference: str, text: str, write: Write, tmp_path: Path
) -> None:
    write("jobs.py", "orders = App('orders')\nmore = kqworker.App('more')\n1 / 0\n")
    write("shop/__init__.py", "inner: App = App('inner')\n")
    write("shop/jobs.py", APP)

    assert refusal(reference, tmp_path) == text


@pytest.mark.usefixtures("write")
def test_a_module_that_is_not_there_names_the_directory(tmp_path: Path) -> None:
    assert refusal("nowhere:app", tmp_path) == "no module 'nowhere' in DIR"


def test_a_module_that_is_not_there_is_compared_with_those_that_are(
    write: Write, tmp_path: Path
) -> None:
    write("billing.py", APP)
    write("shop/__init__.py", "")
    write("shop/jobs.py", APP)

    assert refusal("biling:app", tmp_path) == "no module 'biling' in DIR (did you mean 'billing'?)"
    assert refusal("shop.job:app", tmp_path) == (
        "no module 'shop.job' in DIR (did you mean 'shop.jobs'?)"
    )
    assert (
        refusal("billing.jobs:app", tmp_path)
        == "no module 'billing.jobs' in DIR (did you mean 'billing'?)"
    )


@pytest.mark.usefixtures("write")
def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal("app:app", tmp_path / "none") == "the app directory 'DIR' does not exist"


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("ap", "module 'texts_app' has no attribute 'ap' (did you mean 'app'?)"),
        ("queue", "module 'texts_app' has no attribute 'queue' (did you mean 'app'?)"),
        ("app.inner", "module 'texts_app' has no attribute 'app.inner' (did you mean 'app'?)"),
        ("on_test", "'texts_app:on_test' is not an App but Handler (did you mean 'app'?)"),
    ],
)
def test_an_attribute_that_is_not_the_app_is_told_where_it_is(
    attribute: str, text: str, write: Write, tmp_path: Path
) -> None:
    write("texts_app.py", APP)

    assert refusal(f"texts_app:{attribute}", tmp_path) == text


def test_a_module_without_an_app_is_told_so(write: Write, tmp_path: Path) -> None:
    write("bare.py", "number = 7\ndef create(): ...\n")

    assert refusal("bare:app", tmp_path) == "module 'bare' has no attribute 'app'"
    assert refusal("bare:numbr", tmp_path) == (
        "module 'bare' has no attribute 'numbr' (did you mean 'number'?)"
    )
    assert refusal("bare:number", tmp_path) == "'bare:number' is not an App but int"
    assert refusal("bare:create", tmp_path) == (
        "'bare:create' is not an App but function; if it is a function that returns one: --factory"
    )


def test_an_app_without_handlers_is_refused(write: Write, tmp_path: Path) -> None:
    write("empty.py", "from kqworker import App\napp = App('a')\ndef make(): return app\n")

    assert refusal("empty:app", tmp_path) == (
        "'empty:app' has no handlers: put @app.handler(topic=\"…\") over a function that this "
        "module defines or imports"
    )
    assert refusal("empty:make", tmp_path, factory=True) == (
        "the app that 'empty:make' returned has no handlers"
    )


def test_a_factory_that_ends_the_process_has_failed(write: Write, tmp_path: Path) -> None:
    write("leaves.py", "def make():\n    raise SystemExit(0)\n")

    assert refusal("leaves:make", tmp_path, factory=True).startswith(
        "the factory 'leaves:make' failed:\n"
    )


def test_a_factory_that_is_none_is_refused(write: Write, tmp_path: Path) -> None:
    write("factories.py", f"{APP}\ndef nothing(): ...\ndef fails(): raise OSError('no disk')\n")

    assert refusal("factories:app", tmp_path, factory=True) == (
        "'factories:app' is an App, not a function: leave --factory out"
    )
    assert refusal("factories:nothing", tmp_path, factory=True) == (
        "the factory 'factories:nothing' gave NoneType, not an App"
    )
    write("odd.py", "from kqworker import App\nn = 7\ndef make(): return App('a', members=0)\n")
    assert refusal("odd:n", tmp_path, factory=True) == "the factory 'odd:n' gave int, not an App"
    assert refusal("odd:make", tmp_path, factory=True).startswith("DIR/odd.py:3: App(members=0): ")
    assert refusal("factories:fails", tmp_path, factory=True) == (
        "the factory 'factories:fails' failed:\n"
        "Traceback (most recent call last):\n"
        '  File "DIR/factories.py", line 10, in fails\n'
        "    def fails(): raise OSError('no disk')\n"
        "OSError: no disk"
    )


def test_an_error_of_the_module_shows_the_part_that_is_the_users(
    write: Write, tmp_path: Path
) -> None:
    write("outer.py", "import inner_module\n")
    write("inner_module.py", "def load():\n    raise LookupError('no model')\n\nload()\n")

    assert refusal("outer:app", tmp_path) == (
        "module 'outer' cannot be imported:\n"
        "Traceback (most recent call last):\n"
        '  File "DIR/outer.py", line 1, in <module>\n'
        "    import inner_module\n"
        '  File "DIR/inner_module.py", line 4, in <module>\n'
        "    load()\n"
        '  File "DIR/inner_module.py", line 2, in load\n'
        "    raise LookupError('no model')\n"
        "LookupError: no model"
    )


def test_a_module_that_the_users_one_misses_is_not_taken_for_theirs(
    write: Write, tmp_path: Path
) -> None:
    write("needy.py", "import not_installed_anywhere\n")

    text = refusal("needy:app", tmp_path)

    assert text.startswith("module 'needy' cannot be imported:\nTraceback")
    assert "ModuleNotFoundError: " in text and text.endswith("'not_installed_anywhere'")


def test_a_syntax_error_shows_the_line_and_nothing_of_ours(write: Write, tmp_path: Path) -> None:
    write("broken.py", "def f(:\n")

    text = refusal("broken:app", tmp_path)

    assert text.startswith("module 'broken' cannot be imported:\n")
    assert 'File "DIR/broken.py", line 1\n    def f(:\n' in text
    assert "kqworker" not in text and "importlib" not in text


def test_a_module_that_exits_does_not_end_the_command(write: Write, tmp_path: Path) -> None:
    write("exits.py", "import sys\nsys.exit(3)\n")

    text = refusal("exits:app", tmp_path)

    assert text.startswith("module 'exits' ended Python when it was imported:\n")
    assert text.endswith("SystemExit: 3")


def test_what_must_load_refuses_in_a_module_is_the_error_and_told_by_whoever_imports_it(
    write: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write("queues.py", "import kqworker.kq as kq\nc = kq.must_load('nowhere.yaml')\n")

    text = refusal("queues:app", tmp_path)

    assert text == "cannot read nowhere.yaml: No such file or directory"
    assert capfd.readouterr() == ("", "")


def test_what_an_app_refuses_is_shown_without_a_traceback(write: Write, tmp_path: Path) -> None:
    write("wrong.py", APP.replace('"test"', '"my test"'))

    text = refusal("wrong:app", tmp_path)

    assert text.startswith("DIR/wrong.py:6: handler wrong.on_test: topic 'my test': only letters")
    assert "Traceback" not in text
    write("wrong_app.py", "from kqworker import App\napp = App('a', members=0)\n")
    assert refusal("wrong_app:app", tmp_path) == (
        "DIR/wrong_app.py:2: App(members=0): must be a whole number of at least 1"
    )


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ('@app.handler(topic="test", retries=3)', " (did you mean 'retry'?)"),
        ('@app.handler(topic="test", acks=3)', f": {HANDLER}"),
        ('@app.handler("test")', f": {HANDLER}"),
        ("@app.handler", f": {HANDLER}"),
        ("@app.handler()", f": {HANDLER}"),
        ("@app.on_worker_start()", ": write @app.on_worker_start, and no ()"),
        (
            "@app.handler(topic='test', retry=Retry(3, attempt=3))",
            " (did you mean 'attempts'?)",
        ),
        ("@app.handler(topic='test', retry=Retry(attempts=0))", ""),
        ("@app.handler(topic='test', retry=Retry(first='1s'))", ""),
    ],
)
def test_a_wrong_call_of_ours_is_told_in_a_line(
    write: Write, tmp_path: Path, wrong: str, remedy: str
) -> None:
    # Why, in Python's own words, or in Retry's.
    with pytest.raises((TypeError, ValueError)) as today:
        exec(f"{wrong}\ndef f(value): ...", {"app": App("a"), "Retry": Retry})
    # Since 3.13 Python guesses, too.
    said = str(today.value).partition(". Did you mean")[0]
    text = APP.replace("import App", "import App, Retry").replace(
        '@app.handler(topic="test")', wrong
    )
    write("miscalled.py", text)

    assert refusal("miscalled:app", tmp_path) == f"DIR/miscalled.py:6: {said}{remedy}"


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ('@app.handle(topic="test")', " (did you mean 'handler'?)"),
        ("@app.on_stop", " (did you mean 'on_worker_stop'?)"),
        ('@app.task("test")', f": {HANDLER}"),
    ],
)
def test_a_name_that_an_app_does_not_have_is_told_in_a_line(
    write: Write, tmp_path: Path, wrong: str, remedy: str
) -> None:
    write("misnamed.py", APP.replace('@app.handler(topic="test")', wrong))

    name = wrong.removeprefix("@app.").partition("(")[0]
    assert refusal("misnamed:app", tmp_path) == (
        f"DIR/misnamed.py:6: an App has no {name!r}{remedy}"
    )


def test_a_wrong_call_of_the_users_own_keeps_its_traceback(write: Write, tmp_path: Path) -> None:
    write("theirs.py", APP + "def f(x): ...\nf(y=1)\n")
    write("raising.py", APP + "raise ValueError('no')\n")

    assert "TypeError: f() " in refusal("theirs:app", tmp_path)
    assert refusal("theirs:app", tmp_path).startswith("module 'theirs' cannot be imported:\n")
    assert refusal("raising:app", tmp_path).startswith("module 'raising' cannot be imported:\n")


def test_a_file_with_the_name_of_a_module_that_is_loaded_is_refused(
    write: Write, tmp_path: Path
) -> None:
    write("orders_app.py", APP)
    write("json.py", "")

    assert refusal("orders_app:app", tmp_path) == (
        "DIR/json.py has the name of a module that kqworker needs, Python's own: "
        "give it another one"
    )


def test_an_app_with_the_name_of_a_module_that_is_loaded_is_refused(
    write: Write, tmp_path: Path
) -> None:
    write("pytest/__init__.py", APP)

    text = refusal("pytest:app", tmp_path)

    assert text.startswith("DIR/pytest has the name of a module that kqworker needs, the one in ")
    assert text.endswith("pytest/__init__.py: give it another one")


def test_names_that_nobody_has_loaded_are_free(write: Write, tmp_path: Path) -> None:
    write("kafka.py", APP)  # a package of others, and not of ours
    write("antigravity.py", "")
    write("pytest.py", "")

    assert load_app("kafka:app", str(tmp_path)).name == "orders"
    assert load_app("kafka:app", str(tmp_path)).name == "orders"
