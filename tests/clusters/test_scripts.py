"""The scripts of ``clusters/`` do what they say; what they call (Slurm, Ray, pip) only writes down what it was asked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cluster_files import CLUSTERS, ROOT, SCRIPTS
from fake_programs import FakePrograms

RUNS_ITS_COMMAND = "sys.exit(subprocess.run(sys.argv[sys.argv.index('--') + 1:]).returncode)"
RUNS_RAY = "sys.exit(subprocess.run(sys.argv[sys.argv.index('ray'):]).returncode)"
SCONTROL = """
address = os.environ.get("FAKE_ADDRESS", "10.1.2.3")
print("n7\\nn8" if "hostnames" in sys.argv else f"NodeName=n7 Arch=x86_64 NodeAddr={address} State=IDLE")
"""


@pytest.fixture
def programs(tmp_path: Path) -> FakePrograms:
    return FakePrograms(tmp_path)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_the_script_and_it_stops_at_the_first_error(path: Path, tmp_path: Path) -> None:
    assert subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr == ""
    assert "\nset -euo pipefail\n" in path.read_text()
    wrong = tmp_path / "wrong.sh"
    wrong.write_text(path.read_text() + "\nif true; then\n")
    assert subprocess.run(["bash", "-n", wrong], capture_output=True).returncode != 0


# Slurm


def _batch(programs: FakePrograms, tmp_path: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The batch script as Slurm runs it: a copy, in the folder of the submission, with Slurm's variables."""
    copy = tmp_path / "slurm_script"
    shutil.copy(CLUSTERS / "slurm.sbatch", copy)
    slurm = {"SLURM_JOB_ID": "12345", "SLURM_JOB_NODELIST": "n[7-8]", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "8"}
    granted = {"SLURM_MEM_PER_NODE": "32768", "SLURM_GPUS_ON_NODE": "4", "SLURM_SUBMIT_DIR": str(ROOT)}
    ours = {"MEMSWEEP_STORAGE": str(tmp_path / "sweeps"), "MEMSWEEP_ENVIRONMENT": str(tmp_path / "environment")}
    return programs.run(["bash", copy, *arguments], tmp_path, {**slurm, **granted, **ours, **env})


def _slurm(programs: FakePrograms, tmp_path: Path, ray: str = RUNS_ITS_COMMAND, python: str = "") -> None:
    programs.add("scontrol", SCONTROL)
    programs.add("srun", RUNS_RAY)
    programs.add("ray", ray, tmp_path / "environment/bin")
    programs.add("python", python, tmp_path / "environment/bin")


def test_the_batch_job_starts_one_ray_over_all_its_nodes_with_what_slurm_granted(programs: FakePrograms, tmp_path: Path) -> None:
    _slurm(programs, tmp_path)
    done = _batch(programs, tmp_path, "mine", "search_spaces/quickstart.yaml", "--tracking-uri", "http://mlflow:5000")
    assert done.returncode == 0, done.stderr
    (srun,), (ray,), (python,) = programs.asked("srun"), programs.asked("ray"), programs.asked("python")
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=8", "--no-kill"} <= set(srun["arguments"])
    options = ray["arguments"][: ray["arguments"].index("--")]
    assert options[:5] == ["symmetric-run", "--address", "10.1.2.3:22345", "--min-nodes", "2"]
    memory = (32768 - 1024) * 2**20
    assert {"--num-cpus=8", "--num-gpus=4", f"--memory={memory}", "--object-store-memory=1000000000"} == set(options[5:])
    assert python["arguments"] == [
        *("-m", "orchestrator", "run", "search_spaces/quickstart.yaml", "--name", "mine", "--yes"),
        *("--storage", str(tmp_path / "sweeps"), "--address", "auto", "--tracking-uri", "http://mlflow:5000"),
    ]
    assert python["folder"] == str(ROOT)


def test_every_job_has_a_token_of_its_own_that_is_printed_nowhere(programs: FakePrograms, tmp_path: Path) -> None:
    _slurm(programs, tmp_path)
    told = [_batch(programs, tmp_path, "mine", "x.yaml") for _ in range(2)]
    tokens = [call["environment"]["RAY_AUTH_TOKEN"] for call in programs.asked("ray")]
    assert len(set(tokens)) == 2 and all(len(token) == 64 and int(token, 16) for token in tokens)
    assert all(call["environment"]["RAY_AUTH_MODE"] == "token" for call in programs.asked("ray"))
    printed = "".join(done.stdout + done.stderr for done in told) + str([call["arguments"] for call in programs.asked("srun")])
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "asked.jsonl"]
    assert not any(token in text for token in tokens for text in (printed, *(path.read_text() for path in files)))


@pytest.mark.parametrize("status", [1, 2, 130])
def test_the_exit_status_of_the_job_is_that_of_the_sweep(programs: FakePrograms, tmp_path: Path, status: int) -> None:
    _slurm(programs, tmp_path, ray=RUNS_ITS_COMMAND.replace("sys.exit", "") + "; sys.exit(0)", python=f"sys.exit({status})")
    assert _batch(programs, tmp_path, "mine", "x.yaml").returncode == status
    assert not list((tmp_path / "sweeps").iterdir()), "nothing of the job stays in the storage"


@pytest.mark.parametrize(("ray", "status"), [("sys.exit(0)", 1), ("sys.exit(7)", 7)])
def test_a_job_whose_sweep_never_began_fails_and_says_so(programs: FakePrograms, tmp_path: Path, ray: str, status: int) -> None:
    _slurm(programs, tmp_path, ray=ray)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/.mine.job-12345").write_text("0\n")  # of the same job, before it was started again
    done = _batch(programs, tmp_path, "mine", "x.yaml")
    assert done.returncode == status and "did not begin" in done.stderr


@pytest.mark.parametrize("address", ["127.0.1.1", "no.such.host.invalid"])
def test_a_head_that_others_would_not_reach_is_refused_with_the_cure(
    programs: FakePrograms, tmp_path: Path, address: str
) -> None:
    _slurm(programs, tmp_path)
    done = _batch(programs, tmp_path, "mine", "x.yaml", FAKE_ADDRESS=address)
    assert done.returncode == 1 and "MEMSWEEP_HEAD_ADDRESS" in done.stderr and not programs.asked("srun")


def test_a_job_without_a_search_space_says_how_it_is_submitted(programs: FakePrograms, tmp_path: Path) -> None:
    done = _batch(programs, tmp_path, "mine")
    assert done.returncode == 2 and "usage: sbatch clusters/slurm.sbatch NAME SPACE.yaml" in done.stderr


def test_a_job_whose_storage_is_a_uri_is_refused_before_anything_starts(programs: FakePrograms, tmp_path: Path) -> None:
    _slurm(programs, tmp_path)
    done = _batch(programs, tmp_path, "mine", "x.yaml", MEMSWEEP_STORAGE="s3://bucket/sweeps")
    assert done.returncode == 2 and "a folder that all nodes share" in done.stderr and not programs.asked("srun")


# Running or resuming


def test_a_sweep_that_has_a_record_goes_on(programs: FakePrograms, tmp_path: Path) -> None:
    programs.add("python")
    (tmp_path / "sweeps/mine").mkdir(parents=True)
    (tmp_path / "sweeps/mine/record.jsonl").touch()
    done = programs.run(
        ["bash", CLUSTERS / "run_or_resume.sh", tmp_path / "sweeps", "mine", "x.yaml", "--set", "a=b c"], tmp_path
    )
    (python,) = programs.asked("python")
    assert done.returncode == 0
    assert python["arguments"][2:] == [
        "resume",
        "mine",
        "--storage",
        str(tmp_path / "sweeps"),
        "--address",
        "auto",
        "--set",
        "a=b c",
    ]


def test_on_a_uri_the_sweep_itself_finds_out_whether_it_goes_on(programs: FakePrograms, tmp_path: Path) -> None:
    programs.add("python")
    done = programs.run(["bash", CLUSTERS / "run_or_resume.sh", "s3://bucket/sweeps", "mine", "x.yaml"], tmp_path)
    (python,) = programs.asked("python")
    assert done.returncode == 0
    assert python["arguments"][2:8] == ["run", "x.yaml", "--name", "mine", "--yes", "--or-resume"]
    assert python["arguments"][8:] == ["--storage", "s3://bucket/sweeps", "--address", "auto"]


SLOW_TO_END = """
import signal
def end(*_):
    print("checkpoints are written", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, end)
open("ready", "w").close()
while True:
    signal.pause()
"""


def test_asked_to_end_it_passes_that_on_and_waits_for_the_checkpoints(programs: FakePrograms, tmp_path: Path) -> None:
    programs.add("python", SLOW_TO_END)
    status = tmp_path / "status"
    running = programs.start(
        ["bash", CLUSTERS / "run_or_resume.sh", tmp_path / "sweeps", "mine", "x.yaml"], tmp_path, {"MEMSWEEP_STATUS": str(status)}
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "ready").exists() or not (tmp_path / "status.pid").exists():
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.02)
    os.kill(int((tmp_path / "status.pid").read_text()), signal.SIGTERM)
    assert running.wait(20) == 130 and status.read_text() == "130\n"


# A node


def _node(tmp_path: Path, token: str = "0" * 64) -> Path:
    """The shipped folder on a node, with a token where the file mount puts it."""
    folder = tmp_path / "home/memsweep"
    (folder / "clusters").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "clusters/setup_node.sh"):
        shutil.copy(ROOT / name, folder / name)
    (tmp_path / "home/.ray").mkdir()
    (tmp_path / "home/.ray/auth_token").write_text(token)
    return folder


MAKES_AN_ENVIRONMENT = """
if sys.argv[1:3] == ["-m", "venv"]:
    os.makedirs(sys.argv[3] + "/bin", exist_ok=True)
    import shutil
    shutil.copy(sys.argv[0], sys.argv[3] + "/bin/python")
"""


def test_a_node_is_installed_once_under_the_constraints_and_has_the_environment_on_its_path(
    programs: FakePrograms, tmp_path: Path
) -> None:
    programs.add("python3", MAKES_AN_ENVIRONMENT)
    folder = _node(tmp_path)
    for _ in range(2):
        done = programs.run(["bash", "clusters/setup_node.sh"], folder)
        assert done.returncode == 0, done.stderr
    installs = [call["arguments"] for call in programs.asked("python") if "pip" in call["arguments"]]
    assert [line[-1] for line in installs] == ["ray[default,tune]==2.60.0", ".[cluster,hf,retrieval]"]
    assert all(line[line.index("--constraint") + 1] == "constraints.txt" for line in installs)
    lines = (tmp_path / "home/.bashrc").read_text().splitlines()
    assert lines == ['export PATH="$HOME/memsweep-env/bin:$PATH"', "export RAY_AUTH_MODE=token"]
    assert oct((tmp_path / "home/.ray/auth_token").stat().st_mode)[-3:] == "600"
    (folder / "constraints.txt").write_text("torch==0\n")
    programs.run(["bash", "clusters/setup_node.sh"], folder)
    assert len([call for call in programs.asked("python") if "pip" in call["arguments"]]) == 4, "other versions are installed"


@pytest.mark.parametrize(
    ("python", "token", "message"),
    [
        ("sys.exit('-c' in sys.argv)", "0" * 64, "Python 3.11 or newer"),
        ("", "", "there is no token"),
    ],
)
def test_a_node_that_cannot_serve_says_why(programs: FakePrograms, tmp_path: Path, python: str, token: str, message: str) -> None:
    programs.add("python3", python)
    done = programs.run(["bash", "clusters/setup_node.sh"], _node(tmp_path, token))
    assert done.returncode == 1 and message in done.stderr and not programs.asked("python")
    assert not (tmp_path / "home/.bashrc").exists()


def test_an_installation_that_failed_is_tried_again(programs: FakePrograms, tmp_path: Path) -> None:
    programs.add("python3", MAKES_AN_ENVIRONMENT + "\nsys.exit('pip' in sys.argv)")
    folder = _node(tmp_path)
    for attempt in (1, 2):
        assert programs.run(["bash", "clusters/setup_node.sh"], folder).returncode == 1
        assert len([call for call in programs.asked("python") if "pip" in call["arguments"]]) == attempt
