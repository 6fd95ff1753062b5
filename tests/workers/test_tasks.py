"""Parallel work: no failing or dying task stops another, and each failure is named.

Tasks are calls (`operator.call` runs them), since a worker must be able to import them; longer ones
are source text, which `exec` runs there.
"""

from __future__ import annotations

import multiprocessing
import operator
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest

from dal_auto.errors import CaseFailed, DiskFull, InputError
from dal_auto.images import read_image
from dal_auto.workers import Workforce, memory, run_tasks


def source(text: str, **names: object) -> partial:
    return partial(exec, dedent(text), names)


def stream(tasks: dict, force: Workforce, **options):
    return run_tasks(
        operator.call, list(tasks.values()), list(tasks), workforce=force, title="test", **options
    )


def outcomes(tasks: dict, force: Workforce, **options) -> dict:
    return dict(stream(tasks, force, **options))


@pytest.mark.parametrize("count", [1, 2])
def test_results_and_errors_come_back_under_their_names(count):
    missing = Path("no/such/image.nii.gz")
    found = outcomes(
        {
            "fine": partial(divmod, 7, 2),
            "ours": partial(read_image, missing),
            "other": partial(int, "seven"),
        },
        Workforce(count),
    )
    assert found["fine"] == (3, 1)
    assert isinstance(found["ours"], InputError)
    assert found["ours"].file == missing
    assert isinstance(found["other"], CaseFailed)
    assert found["other"].case_id == "other"
    assert "ValueError: invalid literal" in str(found["other"])
    assert "Traceback" in found["other"].__notes__[0]


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_says_in_which_step_it_was_raised(count):
    within = """
        from dal_auto.errors import DalError
        from dal_auto.workers.progress import Stopwatch
        watch = Stopwatch()
        with watch.step("read"):
            pass
        with watch.step("N4"):
            raise {}
    """
    found = outcomes(
        {
            "ours": source(within.format("DalError('no brain')")),
            "other": source(within.format("KeyError('T1')")),
            "outside": partial(int, "seven"),
        },
        Workforce(count),
    )
    assert {name: error.step for name, error in found.items()} == {
        "ours": "N4",
        "other": "N4",
        "outside": "running",
    }


DIES = """
    import os, signal
    from pathlib import Path
    from dal_auto.workers.progress import Stopwatch
    with Path(log).open("a") as file:
        file.write("tried\\n")
    with Stopwatch().step("rigid to SRI24"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_worker_is_named_tried_once_more_and_the_others_finish(tmp_path, caplog):
    log = tmp_path / "log"
    tasks = {"dies": source(DIES, log=str(log))}
    tasks |= {str(n): partial(abs, n) for n in range(6)}
    found = outcomes(tasks, Workforce(2))
    assert {name: found[name] for name in tasks if name != "dies"} == {str(n): n for n in range(6)}
    assert list(found)[-1] == "dies", "it is tried again when the others are done"
    error = found["dies"]
    assert isinstance(error, CaseFailed)
    assert (error.case_id, error.step) == ("dies", "rigid to SRI24")
    assert "signal 9, Killed" in error.cause and "-np" in error.cause
    assert log.read_text() == "tried\n" * 2
    assert "dies failed at rigid to SRI24" in caplog.text and "once more" in caplog.text


@pytest.mark.parametrize("death", ["os._exit(3)", "raise MemoryError('17 GB')"])
def test_a_case_that_only_its_neighbours_hindered_is_done_in_the_end(tmp_path, death):
    once = """
        import os
        from pathlib import Path
        if not Path(log).exists():
            Path(log).touch()
            {}
    """
    tasks = {"a": source(once.format(death), log=str(tmp_path / "log")), "b": partial(abs, 1)}
    assert outcomes(tasks, Workforce(2)) == {"a": None, "b": 1}


def test_many_deaths_cost_only_their_own_cases():
    tasks = {n: partial(abs, n) for n in range(12)}
    tasks |= {n: partial(os._exit, 7) for n in (1, 4, 5, 11)}
    found = outcomes(tasks, Workforce(3))
    assert {n for n, outcome in found.items() if isinstance(outcome, CaseFailed)} == {1, 4, 5, 11}
    assert "exit code 7" in str(found[4])
    assert all(found[n] == n for n in tasks if n not in (1, 4, 5, 11))


def test_a_worker_killed_while_it_hands_over_its_result_stops_nobody():
    """Pools that share one queue end here: the dead worker holds its lock."""
    half_sent = """
        import os, signal
        from multiprocessing.connection import Connection
        def send(self, message, write=os.write):
            write(self._handle, bytes(message[: len(message) // 2]))
            os.kill(os.getpid(), signal.SIGKILL)
        Connection._send = send
    """
    tasks = {"a": partial(abs, 1), "dies": source(half_sent)}
    tasks |= {str(n): partial(abs, n) for n in range(5)}
    found = outcomes(tasks, Workforce(2))
    assert isinstance(found.pop("dies"), CaseFailed)
    assert found == {"a": 1} | {str(n): n for n in range(5)}


@pytest.mark.skipif(os.name == "nt", reason="holds the interpreter by a call of the C library")
@pytest.mark.parametrize("count", [1, 2])
def test_a_step_that_takes_too_long_is_ended_even_inside_c_code(tmp_path, count):
    hangs = """
        import ctypes
        from pathlib import Path
        from dal_auto.workers.progress import Stopwatch
        with Path(log).open("a") as file:
            file.write("tried\\n")
        with Stopwatch().step("N4"):
            ctypes.PyDLL(None).sleep(600)  # PyDLL: the interpreter is not let go
    """
    log = tmp_path / "log"
    tasks = {"hangs": source(hangs, log=str(log)), "fine": partial(abs, 1)}
    found = outcomes(tasks, Workforce(count, step_limit_s=1.5))
    assert found["fine"] == 1
    assert found["hangs"].step == "N4"
    assert "longer than 1.5 s (--step-limit)" in str(found["hangs"])
    assert log.read_text() == "tried\n", "another try would take as long"


@pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="children are not told"
)
def test_the_limit_also_ends_the_tool_that_a_step_waits_for(tmp_path):
    waits = """
        import subprocess
        from pathlib import Path
        from dal_auto.workers.progress import Stopwatch
        with Stopwatch().step("brain mask"):
            process = subprocess.Popen(["sh", "-c", f"sleep 600 & echo $! > {log}; wait; true"])
            Path(f"{log}-tool").write_text(str(process.pid))
            process.wait()
    """
    log = tmp_path / "log"
    tasks = {"waits": source(waits, log=str(log))}
    found = outcomes(tasks, Workforce(1, step_limit_s=1.5))
    assert found["waits"].step == "brain mask"
    for pid in (log, tmp_path / "log-tool"):  # the tool, and what it has started itself
        wait_until(lambda pid=pid: not is_running(int(pid.read_text())))


@pytest.mark.parametrize("count", [1, 2])
def test_a_full_disk_stops_the_run(tmp_path, count):
    full = "from dal_auto.errors import DiskFull\nraise DiskFull('a.b2nd', '/data')"
    after = source("import time, pathlib; time.sleep(0.2); pathlib.Path(log).open('a').write('.')")
    after.args[1]["log"] = str(tmp_path / "log")
    tasks = {"full": source(full)} | {str(n): after for n in range(20)}
    with pytest.raises(DiskFull, match=r"a\.b2nd.*disk is full.*/data"):
        outcomes(tasks, Workforce(count))
    log = tmp_path / "log"
    assert not log.exists() or len(log.read_text()) < 20


def test_a_result_that_cannot_be_handed_over_is_a_failure_not_a_death():
    found = outcomes({"a": partial(eval, "lambda: 0"), "b": partial(abs, 1)}, Workforce(2))
    assert isinstance(found["a"], CaseFailed) and "handing over" in str(found["a"])
    assert found["b"] == 1


def test_workers_find_the_folder_and_the_variables_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAL_HOME", "elsewhere")
    found = outcomes({"folder": os.getcwd, "home": partial(os.getenv, "DAL_HOME")}, Workforce(2))
    assert found == {"folder": str(tmp_path), "home": "elsewhere"}


def test_tasks_have_their_threads_however_many_are_left():
    """Else a run that was resumed for its last case would differ from one in one go."""
    task = partial(os.getenv, "OMP_NUM_THREADS")
    for force in (Workforce(1, 3), Workforce(4, 3), Workforce(1, 3, step_limit_s=60)):
        assert outcomes({"only": task}, force) == {"only": "3"}


def test_only_where_nothing_needs_another_process_is_it_this_one():
    assert outcomes({"a": os.getpid}, Workforce(1)) == {"a": os.getpid()}
    for force in (Workforce(2), Workforce(1, step_limit_s=60)):
        assert outcomes({"a": os.getpid}, force) != {"a": os.getpid()}


def test_scarce_memory_means_fewer_at_once_and_is_said(monkeypatch, caplog):
    monkeypatch.setattr(memory, "available_bytes", lambda: 3_900_000_000)
    tasks = {str(n): os.getpid for n in range(8)}
    found = outcomes(tasks, Workforce(4), task_bytes=2_000_000_000)
    assert len(set(found.values())) == 1
    assert "2.0 GB of memory, and 3.9 GB are free: 1 at a time, not 4" in caplog.text


def test_results_come_as_they_finish_not_at_the_end():
    done: list[str] = []
    tasks = {name: partial(done.append, name) for name in ("first", "second")}
    next(stream(tasks, Workforce(1)))
    assert done == ["first"]


def test_results_do_not_pile_up_before_one_who_takes_them_slowly(tmp_path):
    tasks = {str(n): partial(os.mkdir, tmp_path / str(n)) for n in range(30)}
    running = stream(tasks, Workforce(2))
    next(running)
    time.sleep(1)  # long enough for all of them, were they let
    assert len(list(tmp_path.iterdir())) <= 2 * 2 + 1
    assert len(list(running)) == 29


def test_who_stops_listening_ends_the_work_and_the_workers(tmp_path):
    tasks = {
        str(n): partial(os.system, f"sleep 0.1; touch '{tmp_path / str(n)}'") for n in range(9)
    }
    running = stream(tasks, Workforce(2))
    next(running)
    running.close()
    assert 1 <= len(list(tmp_path.iterdir())) < 9
    assert multiprocessing.active_children() == []


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    program = """
        import operator, sys
        from functools import partial
        from dal_auto.workers import Workforce, run_tasks
        text = '''
        import os, time
        from pathlib import Path
        from dal_auto.workers.progress import Stopwatch
        (Path(folder) / str(os.getpid())).touch()
        while True:
            with Stopwatch().step("short"):
                time.sleep(0.02)
        '''
        if __name__ == "__main__":
            from textwrap import dedent
            task = partial(exec, dedent(text), {"folder": sys.argv[1]})
            list(run_tasks(operator.call, [task] * 2, "ab", workforce=Workforce(2), title=""))
    """
    script = tmp_path / "program.py"
    script.write_text(dedent(program))
    (tmp_path / "pids").mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "pids")], stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    workers = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    wait_until(lambda: not any(is_running(pid) for pid in workers))


def test_workers_that_cannot_start_end_the_run_at_the_first(tmp_path):
    """As in a script that forgot its `if __name__ == "__main__"`: each worker runs it again."""
    program = """
        import operator, os
        from dal_auto.workers import Workforce, run_tasks
        tasks = [os.getpid] * 50
        list(run_tasks(operator.call, tasks, range(50), workforce=Workforce(2), title=""))
    """
    script = tmp_path / "program.py"
    script.write_text(dedent(program))
    outcome = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 1
    last = outcome.stderr.strip().splitlines()[-1]
    assert "a worker process cannot start (exit code 1)" in last
    assert outcome.stderr.count("bootstrapping phase") <= 2 * 2


def wait_until(ready) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_task_is_no_result():
    assert outcomes({}, Workforce(4)) == {}


@pytest.mark.parametrize(
    ("workforce", "tasks", "here"),
    [
        (Workforce(4, step_limit_s=9, one_here=True), 1, True),
        (Workforce(4, step_limit_s=9, one_here=True), 2, False),
        (Workforce(4, step_limit_s=9), 1, False),
        (Workforce(1), 3, True),
        (Workforce(1, step_limit_s=9), 1, False),
        (Workforce(1, scheduler="tcp://n1:8786", one_here=True), 1, False),
    ],
)
def test_who_works_in_this_process(workforce, tasks, here):
    assert workforce.works_here(tasks) is here


def test_a_task_that_is_alone_may_run_in_this_process():
    pid = {"alone": os.getpid}
    lone = Workforce(2, step_limit_s=60, one_here=True)
    assert outcomes(pid, lone) == {"alone": os.getpid()}


def test_processes_without_a_task_lend_their_cores():
    four = Workforce(4)
    assert [four.at_once(tasks) for tasks in (0, 1, 2, 3, 9)] == [4, 4, 2, 1, 1]
    assert Workforce(4, scheduler="tcp://n1:8786").at_once(1) == 1
