"""`quincunx doctor`: what this machine has, and what `auto` would choose."""

import typer

from service.commands.options import AsJson

app = typer.Typer(rich_markup_mode=None)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show the driver, CUDA, cores and memory of this machine, and what `auto` would choose."""
    from service.console.stdio import answer, print_json
    from service.doctor import diagnose

    found = diagnose()
    if as_json:
        print_json(found.as_json())
        return
    lines = found.lines()
    width = max(len(what) for what, _ in lines)
    for what, value in lines:
        answer(f"{what:{width}}  {value}")
