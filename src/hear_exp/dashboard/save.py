"""The one place of the dashboard that needs an account and the network: saving a workspace and a report on wandb."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from ..lenient import reason
from .options import Options
from .report import make_report
from .workspace import make_workspace

LOGIN = "log in with `wandb login`, or write files with out=FOLDER, which needs no account"


@dataclass(frozen=True)
class Saved:
    """The addresses of what was saved."""

    workspace: str
    report: str


def save(options: Options) -> Saved:
    """Save the workspace and the report, in place of the ones that ``options`` names, else as new ones.

    Raises UserError where nobody is logged in, and for what wandb refuses or the network does not carry.
    """
    import wandb

    try:
        account = wandb.Api()
    except wandb.errors.AuthenticationError as error:
        raise UserError(f"wandb did not take the key, or could not be reached: {reason(error)}; {LOGIN}") from error
    except wandb.errors.UsageError as error:
        raise UserError(f"nobody is logged in to wandb: {LOGIN}") from error
    entity = options.entity or _asked("which team the account has", lambda: account.default_entity)
    if not entity:
        raise UserError("the account on wandb has no default team; say which with entity=NAME")
    options = dataclasses.replace(options, entity=entity)
    # The report first: saving it makes the project where there is none yet.
    report = _asked("the report was not saved", lambda: _report(options).save())
    workspace = _asked(
        f"the report was saved ({report.url}), the workspace was not", lambda: _workspace(options).save()
    )
    return Saved(workspace=workspace.url, report=report.url)


def _report(options: Options) -> Any:
    import wandb_workspaces.reports.v2 as wr

    report = make_report(options)
    if options.report:
        report.id = wr.Report.from_url(options.report).id
    return report


def _workspace(options: Options) -> Any:
    import wandb_workspaces.workspaces as ws

    workspace = make_workspace(options)
    if not options.workspace:
        return workspace
    saved = ws.Workspace.from_url(options.workspace)
    for field in ("name", "sections", "settings", "runset_settings"):
        setattr(saved, field, getattr(workspace, field))
    return saved


def _asked(what: str, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:  # wandb's own, the network's, and what the package makes of a server's answer
        raise UserError(f"{what}: wandb answered: {reason(error)}") from error
