"""Bad configuration files and bad command lines.

What can be wrong *in* a configuration, key by key, is in ``test_config.py``; here are whole files,
as ``python -m vmm.benchmark.config`` reads them, hostile names, and ``vmm fit``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from bad_input import (
    assert_one_sentence,
    cells,
    listing,
    program,
    public_folder,
    unprivileged,
)

import vmm.cli.fit
from vmm.benchmark.config.__main__ import main as check_configuration
from vmm.cli import main
from vmm.priors.records import clustering_priors

GOOD = "run: x\ndatasets: {digits: }\n"

# --------------------------------------------------------------------------------------- the file

MAPPING = "my.yaml: must be a mapping of keys to values, such as 'run: demo'"
FILES: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", MAPPING),
    "a list": ("[run, datasets]", MAPPING),
    "a word": ("run", MAPPING),
    "not closed": ("run: [x\n", "my.yaml: is not YAML: while parsing a flow sequence"),
    "a tab": ("run:\tx\n", "my.yaml: is not YAML: while scanning for the next token found char"),
    "two documents": (f"{GOOD}---\n{GOOD}", "my.yaml: is not YAML: expected a single document"),
    "Latin-1": ("run: é\n".encode("latin1"), "my.yaml: is not YAML: byte 5 is not UTF-8; save it"),
    "UTF-16": (GOOD.encode("utf16"), "my.yaml: is not YAML: byte 0 is not UTF-8; save it as text"),
    "a null byte": (b"run: x\0\n", "my.yaml: is not YAML: unacceptable character"),
    "a key twice": (
        f"{GOOD}trials: 3\nrun: y\n",
        "my.yaml: the key 'run' stands twice in the same place (lines 1 and 4); remove one"),
    "a key of a data set twice": (
        "run: x\ndatasets:\n  digits:\n    n_latent: 3\n    n_latent: 4\n",
        "my.yaml: the key 'n_latent' stands twice in the same place (lines 4 and 5); remove one"),
    "a name that is another in YAML": (
        "run: x\ndatasets:\n  007: {path: my.h5ad}\n",
        "my.yaml: the name 007 (line 3) is 7 in YAML; write '007', in quotes"),
    "a name that is a truth value": (
        "run: x\ndatasets: {yes: {path: my.h5ad}}\n",
        "my.yaml: the name yes (line 2) is True in YAML; write 'yes', in quotes"),
    "a column that is another in YAML": (
        "run: x\ndatasets: {m: {path: my.h5ad, label_key: 007}}\n",
        "my.yaml: datasets.m.label_key is 7, but must be text or null (in quotes, as it is "),
    "an object of Python": (
        "run: !!python/object/apply:os.mkdir [sprung]\n",
        "my.yaml: is not YAML: could not determine a constructor for the tag "),
    "a tag": ("run: !x y\n", "my.yaml: is not YAML: could not determine a constructor for the tag"),
    "a mapping in itself": (
        "run: x\ndatasets: &all {digits: *all}\n",
        "my.yaml: a value contains itself by an alias (*name)"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), FILES.values(), ids=FILES.keys())
def test_wrong_files_are_refused(content, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = content if isinstance(content, bytes) else content.encode()
    Path("my.yaml").write_bytes(data)
    ended = program(check_configuration, "my.yaml")
    assert ended.status == 1
    assert_one_sentence(ended, sentence)
    assert listing(tmp_path) == {"my.yaml": len(data)}


def test_places_that_are_no_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    absent, folder = program(check_configuration, "no.yaml"), program(check_configuration, ".")
    assert_one_sentence(absent, "no.yaml: cannot be read (No such file or directory)")
    assert_one_sentence(folder, ".: cannot be read (Is a directory)")
    assert_one_sentence(
        program(check_configuration), "one of the arguments --docs --schema file is required"
    )
    assert listing(tmp_path) == {}


def test_a_configuration_and_data_without_permission(monkeypatch):
    with public_folder() as folder:
        monkeypatch.chdir(folder)
        given = {"run": "x", "datasets": {"m": {"path": "my.h5ad", "label_key": "t"}}}
        Path("my.yaml").write_text(yaml.safe_dump(given))
        Path("my.h5ad").touch(0)
        with unprivileged():
            ended = program(check_configuration, "my.yaml")
        assert_one_sentence(ended, "path is 'my.h5ad', which cannot be read (Permission denied) (")
        Path("my.yaml").chmod(0)
        with unprivileged():
            ended = program(check_configuration, "my.yaml")
        assert_one_sentence(ended, "my.yaml: cannot be read (Permission denied)")


# ------------------------------------------------------------------------------------------ values


def of(**settings) -> dict:
    return {"datasets": {"m": {"path": "my.h5ad", "label_key": "t"} | settings}}


SUM = "a" * 64
VALUES: dict[str, tuple[dict, str]] = {
    "a seed beyond 32 bits": ({"seed": 2**32}, "seed is 4294967296, but must be at most 42949"),
    "an empty mirror": ({"mirror": ""}, "mirror is '', but must not be empty"),
    "a mirror without a host": ({"mirror": "http://"}, "mirror is 'http://', which is no folder"),
    "a mirror that is no address": ({"mirror": "http://[x"}, "'http://[x', which is no folder"),
    "a mirror by FTP": ({"mirror": "ftp://h/x"}, "mirror is 'ftp://h/x', which is no folder"),
    "an address by FTP": (
        of(path=None, url="ftp://h/x.h5ad", sha256=SUM),
        "datasets.m.url is 'ftp://h/x.h5ad', but must be an address that starts with http:// or"),
    "an address of nothing": (
        of(path=None, url="x.h5ad", sha256=SUM), "datasets.m.url is 'x.h5ad', but must be an add"),
    "a path too long": (of(path="x" * 300), "which cannot be read (File name too long) ("),
    "the home of nobody": (of(path="~nobody_of_this_name/x"), "which is not a path (Could not det"),
    "a device": (of(path="/dev/null"), "datasets.m.path is '/dev/null', which is not a file ("),
    "an empty key": (of(batch_key=""), "datasets.m.batch_key is '', but must not be empty"),
    "one column twice": (
        of(batch_key="t"),
        "datasets.m.batch_key and label_key both name 't'; batches must be something else than"),
    "a covariate that is batch": (
        of(batch_key="donor", categorical_covariate_keys=["sex", "donor"]),
        "m.categorical_covariate_keys names 'donor', as batch_key does; a column can be one only"),
    "a covariate of two kinds": (
        of(categorical_covariate_keys=["age"], continuous_covariate_keys=["age"]),
        "continuous_covariate_keys names 'age', as categorical_covariate_keys does; a column"),
    "a covariate given twice": (
        of(categorical_covariate_keys=["age", "age"]), "m.categorical_covariate_keys"),
    "a covariate that is no list": (
        of(categorical_covariate_keys="age"), "m.categorical_covariate_keys is 'age', but must be"),
    "a dispersion of Poisson": (
        of(likelihood="poisson", dispersion="gene-batch"),
        "m.dispersion is 'gene-batch', but the Poisson distribution has none; leave it out"),
    "names alike but for case": (
        {"datasets": of()["datasets"] | {"M": of()["datasets"]["m"]}},
        "datasets has 'M' and 'm', whose files some disks take for the same; give names that"),
    "infinity": (of(learning_rate=float("inf")), "m.learning_rate is .inf, but must be a number"),
    "not a number": (of(learning_rate=float("nan")), "rate is .nan, but must be a number"),
    "a sum with a line break": (
        of(path=None, url="https://h/x", sha256=SUM + "\n"), "but must consist of 64 hexadecimal"),
}  # fmt: skip


def check(folder: Path, **given):
    """Check a configuration file with ``python -m vmm.benchmark.config``."""
    config = {"run": "x", "datasets": {"digits": None}} | given
    (folder / "my.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
    return program(check_configuration, folder / "my.yaml")


@pytest.mark.parametrize(("given", "sentence"), VALUES.values(), ids=VALUES.keys())
def test_wrong_values_are_refused(given, sentence, tmp_path):
    assert_one_sentence(check(tmp_path, **given), sentence)
    assert listing(tmp_path).keys() == {"my.yaml"}


HOSTILE = [
    "a b", "'", '"', "..", "../x", "a/b", "/etc", ".hidden", "-rf", "--config", "$HOME", "`id`",
    "a;b", "{dataset}", "{config[run]}", "<script>", "a\nb", "a\n", "é", "٣", "a\\b", "*", "a\0b",
    "", "x" * 101,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_become_paths_are_plain(name, tmp_path):
    """Names of runs and data sets: folders, files, wildcards and words of commands."""
    long = len(name) > 100
    rule = "must have at most 100 characters" if long else "must consist of letters, digits"
    run = check(tmp_path, run=name)
    assert_one_sentence(run, f", but {rule}")
    dataset = check(tmp_path, datasets={name: {"path": "my.h5ad", "label_key": "t"}})
    assert_one_sentence(dataset, f" in datasets {rule}")
    assert listing(tmp_path).keys() == {"my.yaml"}


# ---------------------------------------------------------------------------------------- vmm fit

WORDS = {
    "no command": (["train"], "vmm: argument command: invalid choice: 'train' (choose from"),
    "unknown option": (
        ["--verbose"],
        "vmm: unrecognized arguments: --verbose; see vmm fit --help.",
    ),
    "too many words": (["cite", "me"], "vmm: unrecognized arguments: me; see vmm --help."),
    "no file": (["fit", "-o", "out"], "the following arguments are required: path"),
    "no output": (["fit", "my.h5ad"], "the following arguments are required: --output/-o"),
    "unknown option of fit": (["fit", "my.h5ad", "-o", "out", "--gpu"], "arguments: --gpu"),
    "a value for what is tuned": (
        ["fit", "my.h5ad", "-o", "out", "--tune", "--batch-size", "64"],
        "vmm: --tune chooses --batch-size; leave one or the other out.",
    ),
    "an option without a value": (["fit", "my.h5ad", "-o"], "--output/-o: expected one argument"),
}


@pytest.mark.parametrize(("words", "sentence"), WORDS.values(), ids=WORDS.keys())
def test_wrong_commands_are_refused(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = program(main, *words)
    assert ended.status == 2
    assert_one_sentence(ended, sentence)
    assert listing(tmp_path) == {}


WITH_CLUSTERS = ", ".join(map(repr, clustering_priors("cells")))
WHOLE = "is not a whole number of at least"
OPTIONS = [
    ("--n-latent", "0", f"'0' {WHOLE} 1"),
    ("--n-latent", "-1", f"'-1' {WHOLE} 1"),
    ("--n-latent", "1.5", f"'1.5' {WHOLE} 1"),
    ("--n-latent", "", f"'' {WHOLE} 1"),
    ("--n-latent", "²", f"'²' {WHOLE} 1"),
    ("--n-latent", "9" * 30, f"{WHOLE} 1"),
    ("--n-layers", "0", f"'0' {WHOLE} 1"),
    ("--n-hidden", "ten", f"'ten' {WHOLE} 1"),
    ("--n-components", "0", f"'0' {WHOLE} 1"),
    ("--batch-size", "1", f"'1' {WHOLE} 2"),
    ("--max-epochs", "0", f"'0' {WHOLE} 1"),
    ("--patience", "0", f"'0' {WHOLE} 1"),
    ("--seed", "-1", f"'-1' {WHOLE} 0"),
    ("--seed", str(2**32), "4294967296 is more than 4294967295, the greatest possible"),
    ("--threads", "0", f"'0' {WHOLE} 1"),
    ("--threads", "5000", "5000 is more than 1024, the greatest possible"),
    ("--learning-rate", "0", "'0' is not a positive number"),
    ("--learning-rate", "nan", "'nan' is not a positive number"),
    ("--learning-rate", "inf", "'inf' is not a positive number"),
    ("--prior-learning-ratio", "-5", "'-5' is not a positive number"),
    ("--n-top-genes", "-3", f"'-3' {WHOLE} 0"),
    ("--n-top-genes", "1", "1 gene tells no cells apart; give at least 2, or 0: all"),
    ("--seeds", "1", "of 1 other seed and the model none can be told to be unusual; give at least"),
    ("--prior", "normal", f"invalid choice: 'normal' (choose from {WITH_CLUSTERS})"),
    ("--likelihood", "normal", "invalid choice: 'normal' (choose from 'zinb', 'nb', 'poisson')"),
    ("--device", "tpu", "invalid choice: 'tpu' (choose from 'auto', 'cpu', 'gpu', 'cuda')"),
]
FOUND_IN_THE_FILE = [
    (
        "--batch-key",
        "lane",
        "has no column 'lane' for --batch-key; its columns are donor,",
    ),
    ("--batch-key", "", "has no column '' for --batch-key; its columns are donor, cell_type."),
    (
        "--label-key",
        "type",
        "has no column 'type' for --label-key; its columns are donor,",
    ),
    (
        "--layer",
        "counts",
        "has no layer 'counts' for --layer; it has none; leave it out to take X.",
    ),
    ("--layer", "", "has no layer '' for --layer; it has none; leave it out to take X."),
    (
        "--n-components",
        "37",
        "my.h5ad has 36 cells to train on, fewer than --n-components 37; use at",
    ),
]


@pytest.mark.parametrize(("option", "value", "sentence"), OPTIONS + FOUND_IN_THE_FILE)
def test_wrong_options_are_refused(option, value, sentence, tmp_path):
    cells().write_h5ad(tmp_path / "my.h5ad")
    before = listing(tmp_path)
    words = ["fit", tmp_path / "my.h5ad", "-o", tmp_path / "out", "--n-components", "8"]
    ended = program(main, *words, f"{option}={value}")
    assert ended.status == 2
    assert_one_sentence(ended, sentence)
    assert listing(tmp_path) == before


def test_outputs_that_cannot_be(tmp_path):
    cells().write_h5ad(tmp_path / "my.h5ad")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    before = listing(tmp_path)
    for output, sentence in (
        ("full", "full has files; name another --output, or add --overwrite."),
        ("my.h5ad", "my.h5ad is a file; --output must name a folder."),
        ("my.h5ad/out", "Not a directory."),
        ("x" * 300, "File name too long."),
        ("/proc/out", "--output /proc/out cannot be made: No such file or directory."),
    ):
        words = ["fit", tmp_path / "my.h5ad", "-o", tmp_path / output, "--n-components", "8"]
        assert_one_sentence(program(main, *words), sentence)
        assert listing(tmp_path) == before


def test_outputs_without_permission():
    with public_folder() as folder:
        cells().write_h5ad(folder / "my.h5ad")
        (folder / "closed").mkdir(0o555)
        before = listing(folder)
        for output in ("closed", "closed/out"):
            words = ["fit", folder / "my.h5ad", "-o", folder / output, "--n-components", "8"]
            with unprivileged():
                ended = program(main, *words)
            assert_one_sentence(ended, "Permission denied.")
            assert listing(folder) == before


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 TiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore lines."),
    ],
)
def test_too_little_memory_is_told_and_leaves_nothing(error, tmp_path, monkeypatch):
    def train(*arguments):
        raise error

    monkeypatch.setattr(vmm.cli.fit, "train", train)
    cells().write_h5ad(tmp_path / "my.h5ad")
    before = listing(tmp_path)
    ended = program(main, "fit", tmp_path / "my.h5ad", "-o", tmp_path / "out", "--n-components=8")
    assert ended.status == 2
    reason = str(error).partition("\n")[0]
    assert f"vmm: there is too little memory for this model ({reason}); use fewer" in ended.said
    assert listing(tmp_path) == before
