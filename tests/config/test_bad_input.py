"""The command line of a run: bad input is one clear line, help is fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.helpers import invoke

BAD = [
    (["router=sfot"], "unknown router 'sfot'; nearest: soft"),
    (["task=digit"], "unknown task 'digit'; nearest: digits"),
    (["backbone=vit_s17"], "unknown backbone 'vit_s17'; nearest: vit_s16"),
    (["backbone=timm:hf-hub:owner/vit_tiny"], "unknown backbone 'timm:hf-hub:owner/vit_tiny'"),
    (["backbone=timm:vit_tiny_patch16_225"], "nearest: timm:vit_tiny_patch16_224"),
    (["backbone=resnet:18"], "unknown library 'resnet'"),
    (["backbone=timm:resnet18"], "has no MLP that can become an MoE layer"),
    (["logger=cvs"], "unknown logger 'cvs'; nearest: csv"),
    (["trainer.max_step=3"], "unknown option 'trainer.max_step'; nearest: trainer.max_steps"),
    (["num_expert=3"], "unknown option 'num_expert'; nearest: num_experts"),
    (["router.kk=3"], "unknown option 'router.kk'; nearest: router.k"),
    (["num_experts"], "num_experts: expected option=value; type for example seed=0"),
    (["=3"], "=3: expected option=value; type for example seed=0"),
    (["task.family=visoin"], "unknown task family 'visoin'; nearest: vision"),
    (["task.family=no.such:Task"], "task.family=no.such:Task: ModuleNotFoundError"),
    (["task.family=math:Task"], "task.family=math:Task: AttributeError"),
    (["records="], "records='': string should have at least 1 character"),
    (["router=é"], "type for example \"router='é'\""),
    (["records=a,b"], """, records=[a,b] for a list, or "records='a,b'" for a text"""),
    (["records=/dev/null/runs"], "records=/dev/null/runs cannot be written: Not a directory"),
    (["seed=100000000000000000000"], f"expected at most {2**63 - 1}"),
    (["data.batch_size=100000000000000000000"], f"expected at most {2**63 - 1}"),
    (["trainer.max_steps=100000000000000000000"], f"expected at most {2**63 - 1}"),
    (["backbone.kwargs.depth=100000000000000000000"], f"expected at most {2**63 - 1}"),
    (["task.num_classes=100000000000000000000"], f"expected at most {2**63 - 1}"),
    (["data.workers=1000000"], "less than or equal to 1024; type for example data.workers=2"),
    (
        ["trainer.val_check_interval=1000"],
        "an epoch has 22 batches; expected at most as many; type trainer.check_val_every_n_epoch=",
    ),
    (["router.k=100000000000000000000"], f"expected at most {2**63 - 1}"),
    (["records=é ü"], "type for example \"records='é ü'\""),
    (["records=a [b"], "type for example \"records='a [b'\""),
    (
        ["records=w $x,[1] it's"],
        """type for example 'records='"'"'w $x,[1] it\\'"'"'s'"'"''""",
    ),
    (
        ["num_experts=0"],
        "num_experts=0: input should be greater than or equal to 1; type for example num_experts=8",
    ),
    (["num_experts=abc"], "num_experts='abc'"),
    (["router.k=9"], "router.k=9: expected 1 to num_experts=8"),
    (["slots_per_token=-1"], "slots_per_token=-1"),
    (["slots_per_token=1e9"], "at most num_experts=8"),
    (["optim.lr=0"], "optim.lr=0"),
    (["optim.schedule=linear"], "'cosine', 'rsqrt' or 'constant'"),
    (["layers=[99]"], "candidates: 0 blocks.0.mlp, 1 blocks.1.mlp"),
    (["trainer.precision=17"], "trainer: Precision"),
    (["task.source=/nowhere"], "task.source=/nowhere does not exist"),
    (["task.num_classes=11"], "has 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), the task 11"),
    (["router=my_file:Nothing"], "no file my_file.py"),
    (["backbone.kwargs.depth=two"], "refuses its arguments"),
    (["--config-dir", "nowhere"], "no such folder"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_clear_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, *words) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("error: ")]) == 1
    assert not (tmp_path / "runs").exists()  # nothing half-written


def test_bad_input_in_a_process_of_its_own(command: Command) -> None:
    done = command("moesuite.run", "num_experts=0")
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "CUDA" not in line] == [
        "error: num_experts=0: input should be greater than or equal to 1; type for example "
        "num_experts=8"
    ]


def test_help_is_fast_because_it_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['run', '--help']; import moesuite.run; moesuite.run.main(); "
        "assert not {'torch', 'lightning', 'timm', 'datasets'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for word in (" cifar10,", " dense,", "trainer.max_steps=-1", "router.k=1", "--config-dir"):
        assert word in done.stdout


def test_the_console_script_hands_over(command: Command) -> None:
    assert "leaderboard" in command("moesuite", "--help").stdout
    bad = command("moesuite", "run", "num_experts=0")
    assert bad.returncode == 2 and "error: num_experts=0" in bad.stderr
    wrong = command("moesuite", "rnu")
    assert wrong.returncode == 2 and "nearest: run" in wrong.stderr
