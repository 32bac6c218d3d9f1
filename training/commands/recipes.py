"""`quincunx recipes`: list the recipes that ship, or show one as JSON."""

from typing import Annotated

import typer

from service.commands.options import AsJson
from service.console.stdio import answer, print_json
from training.commands.options import Overrides, recipe_names

app = typer.Typer(invoke_without_command=True)


@app.callback()
def recipes(context: typer.Context, as_json: AsJson = False) -> None:
    """List the recipes that ship, each with its purpose."""
    context.obj = as_json
    if not context.invoked_subcommand:
        list_recipes(context)


@app.command("list")
def list_recipes(context: typer.Context, as_json: AsJson = False) -> None:
    """List the recipes that ship, each with its purpose; the same as without a command."""
    from training import recipe

    summaries = {name: recipe.load(name).summary for name in recipe.names()}
    if as_json or context.obj:  # --json may come before the command list, too
        print_json(summaries)
    else:
        width = max(map(len, summaries))
        for name, summary in summaries.items():
            answer(f"{name:{width}}  {summary}")


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A recipe's name.", autocompletion=recipe_names)
    ],
    overrides: Overrides = None,
) -> None:
    """Print a recipe as JSON with every value. --set shows the effect of an override."""
    from training import recipe

    print_json(recipe.load(name, overrides).to_json())
