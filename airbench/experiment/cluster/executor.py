"""The executor that trains jobs on the workers of a Ray cluster."""

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from airbench.errors import AirbenchError
from airbench.experiment.cluster.actor import Mailbox
from airbench.experiment.cluster.connect import Cluster, Need, same_need
from airbench.experiment.cluster.images import Images
from airbench.experiment.cluster.remote import (
    MOST_RETRIES,
    Attempt,
    RemoteWorker,
    UnfitError,
    WorkerLostError,
    variables,
)
from airbench.experiment.cluster.session import EXTRA, FOUND, NOTE, OUTCOME, UNFIT, Answer
from airbench.experiment.environment import describe_command
from airbench.experiment.executors import Watch
from airbench.experiment.facts import Examined
from airbench.experiment.jobs import TrialExtra, TrialJob, TrialOutcome
from airbench.experiment.worker import Worker
from airbench.recipe import Recipe
from airbench.recipe.plugins import loaded_plugins

PATIENCE = 0.5
"""Seconds after which the head looks for news of epochs while no trial ends."""
SLOW = 60.0
"""Seconds without any worker after which the user is told what is waited for."""


class RayExecutor:
    """Trains jobs on all workers of a cluster, in the order given, one trial at a time on each."""

    def __init__(
        self,
        cluster: Cluster,
        worker: Worker,
        say: Callable[[str], None] = lambda text: None,
        tick: Callable[[], None] = lambda: None,
    ):
        """``worker`` loads the images; ``say`` takes lines for the user; ``tick`` is called every moment."""
        self.cluster, self.say, self.tick = cluster, say, tick
        self.images = Images(cluster, worker)
        self.needs: set[Need] = set()
        self._said: set[str] = set()
        self._why = ""

    def examine(self, recipe: Recipe, *, measure: bool) -> Examined:
        """Return the facts of ``recipe`` as the first worker that is ready finds them. Raises AirbenchError."""
        self._open([recipe])
        lost = 0
        while True:
            worker = self._first_idle()
            order, images = self._order(TrialJob(recipe, 0, 0), worker)
            try:
                kind, found = worker.examine(order, images, measure)
            except WorkerLostError as error:
                lost += 1
                if lost > MOST_RETRIES:
                    raise AirbenchError(f"{recipe.name}: {lost} workers died while they set it up: {error}") from None
                self._lost(worker, str(error))
                continue
            if kind == FOUND:
                environment = {**found.facts["environment"], **describe_command()}
                facts = {**found.facts, "environment": environment, "ray": self.cluster.describe()}
                return Examined(found.lines, facts)
            if kind != UNFIT:
                raise found
            self._leave_out(worker, found)

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> Iterator[TrialOutcome | TrialExtra]:
        """See :class:`airbench.experiment.executors.Executor`. A trial whose worker dies is tried again."""
        if not jobs:
            return
        queue = deque(Attempt(job) for job in jobs)
        self._open([job.recipe for job in jobs])
        try:
            while queue or self._busy():
                self._hand_out(queue, watch)
                for worker in self._with_news():
                    yield from self._advance(worker, queue)
                self._deliver_rows()
                self.tick()
        finally:
            if self._busy():  # after Ctrl-C
                for worker in self.workers:
                    worker.leave()
                self.cluster.workers = []

    def _open(self, recipes: Sequence[Recipe]) -> None:
        """Start the workers, unless an experiment before this one has, and they are what is needed."""
        cluster = self.cluster
        cluster.connect()
        self.needs |= {cluster.need(recipe) for recipe in recipes}
        need = same_need(self.needs)
        if cluster.workers and cluster.workers[0].need == need:
            return
        for worker in cluster.workers:
            worker.leave()
        if cluster.mailbox is None:
            options = cluster.on(cluster.nodes[0], num_cpus=0)
            cluster.mailbox = cluster.remote(Mailbox).options(**options).remote()
        plugins = {path.name: path.read_bytes() for path in loaded_plugins()}
        setting = {"plugins": plugins, "mailbox": cluster.mailbox, "variables": variables()}
        places = [node for node in cluster.nodes for _ in range(node.holds(need))]
        cluster.workers = [RemoteWorker(cluster, node, need, setting) for node in places]

    @property
    def workers(self) -> list[RemoteWorker]:
        """The workers that are not gone."""
        return [worker for worker in self.cluster.workers if not worker.gone]

    def _busy(self) -> list[RemoteWorker]:
        return [worker for worker in self.workers if worker.attempt is not None]

    def _first_idle(self) -> RemoteWorker:
        """Wait for a worker that is ready."""
        started = time.monotonic()
        while True:
            if time.monotonic() - started > SLOW:
                self._say_once("waiting for workers: others may be using the CPUs or GPUs of the cluster")
            for worker in self.workers:
                if worker.idle:
                    return worker
            for worker in self._with_news():
                list(self._advance(worker, deque()))
            self.tick()

    def _hand_out(self, queue: deque[Attempt], watch: Watch) -> None:
        for worker in self.workers:
            if queue and worker.idle:
                attempt = queue.popleft()
                order, images = self._order(attempt.job, worker)
                attempt.callback = watch(attempt.job)
                worker.train(attempt, order, images)

    def _order(self, job: TrialJob, worker: RemoteWorker) -> tuple[bytes, list[Any]]:
        parcel, images = self.images.parcel(job.recipe, worker.node)
        if parcel.why_own:
            self._say_once(f"{worker.node} reads its own copy of the images: {parcel.why_own}")
        return pickle.dumps((job, parcel)), images

    def _with_news(self) -> list[RemoteWorker]:
        """Return the workers that have answered, after a moment at most. Raises AirbenchError if none is left."""
        waiting = {worker.waiting: worker for worker in self.workers if worker.waiting is not None}
        if not waiting:
            raise AirbenchError(f"no worker is left: {self._why}")
        ready, _ = self.cluster.ray.wait(list(waiting), num_returns=1, timeout=PATIENCE)
        return [waiting[each] for each in ready]

    def _advance(self, worker: RemoteWorker, queue: deque[Attempt]) -> Iterator[TrialOutcome | TrialExtra]:
        attempt = worker.attempt
        try:
            answer = worker.advance()
            if answer is not None and answer[0] == UNFIT:
                raise UnfitError(answer[1])
        except UnfitError as error:
            self._leave_out(worker, str(error))
            if attempt is not None:
                queue.appendleft(Attempt(attempt.job, attempt.retries))
        except WorkerLostError as error:
            self._lost(worker, str(error))
            if attempt is not None and not attempt.settled:
                yield from self._try_again(attempt, str(error), queue)
            elif attempt is not None and attempt.job.recipe.engine.save != "none":
                job = attempt.job
                self.say(
                    f"{job.recipe.name} trial {job.index} is finished, but not all that engine.save asks for has come "
                    f"from its worker ({error}); for it, train a new run with --trials 1 --seed {job.seed}"
                )
        else:
            if attempt is not None and answer is not None:
                yield from self._received(attempt, answer)

    def _received(self, attempt: Attempt, answer: Answer) -> Iterator[TrialOutcome | TrialExtra]:
        kind, *content = answer
        if kind == NOTE:
            self._say_once(content[0])
        elif kind == EXTRA:
            yield TrialExtra(attempt.job, *content)
        elif kind == OUTCOME:
            machine, result, reason = content
            outcome = TrialOutcome(attempt.job, machine, result, reason, attempt.retries)
            attempt.settled = True
            if outcome.result is None:
                attempt.callback.on_fail(outcome.reason)
            else:
                for row in outcome.result.epochs:
                    if row.epoch > attempt.epoch:  # still in the mailbox
                        attempt.callback.on_epoch(row)
                attempt.callback.on_end(outcome.result)
            yield outcome

    def _try_again(self, attempt: Attempt, why: str, queue: deque[Attempt]) -> Iterator[TrialOutcome]:
        name = f"{attempt.job.recipe.name} trial {attempt.job.index}"
        if attempt.retries < MOST_RETRIES:
            self.say(f"{name} is tried again, with the same seed: {why}")
            queue.appendleft(attempt.again())
            return
        reason = f"the worker that trained it died {attempt.retries + 1} times, the last time: {why}"
        attempt.callback.on_fail(reason)
        yield TrialOutcome(attempt.job, {}, reason=reason, retries=attempt.retries)

    def _lost(self, worker: RemoteWorker, why: str) -> None:
        """Start a worker again that has died, unless its node is gone or it keeps dying."""
        worker.deaths += 1
        worker.stop()
        if not self.cluster.alive(worker.node):
            worker.leave()
            self._why = f"{worker.node} is gone"
            self._say_once(self._why)
        elif worker.deaths > MOST_RETRIES:
            self._leave_out(worker, why)
        else:
            worker.start()

    def _leave_out(self, worker: RemoteWorker, why: str) -> None:
        worker.leave()
        self._why = f"{worker.node} is left out: {why}"
        self._say_once(self._why)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.say(line)

    def _deliver_rows(self) -> None:
        """Pass on the rows that workers have sent. They are for display, so losing them is no fault."""
        attempts = {worker.attempt.number: worker.attempt for worker in self.workers if worker.attempt is not None}
        with suppress(self.cluster.ray.exceptions.RayError):
            for number, row in self.cluster.ray.get(self.cluster.mailbox.take.remote(), timeout=PATIENCE):
                attempt = attempts.get(number)
                if attempt is not None and not attempt.settled:
                    attempt.epoch = row.epoch
                    attempt.callback.on_epoch(row)
