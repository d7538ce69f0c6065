import { Argument, Command } from "commander";
import { dispatch } from "../event/dispatch.js";
import { printable } from "../error/printable.js";
import validate from "../generated/validate-plan.cjs";
import { EVENTS, type EventName, type Guest, type LifecycleEvent } from "../host/host-adapter.js";
import { renderStep } from "../plan/render.js";
import { HOST } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";

export function planCommand(): Command {
  return new Command("plan")
    .summary("show what an event would do now")
    .description("Shows what the hook would do if the host manager fired it now; changes nothing.")
    .addArgument(new Argument("<event>", "lifecycle event").choices(EVENTS))
    .argument("<guest>", "name or UUID")
    .option("--json", "for machines")
    .action(async (event: EventName, name: string, { json }: { json?: true }) => {
      const container = open();
      const guest = await container.resolve(HOST).readGuest(name);
      const plan = await dispatch(container, asIfFired(event, guest), "plan");
      if (json) {
        printJson(validate, { event, guest: { id: guest.id, name: guest.name }, stages: plan.stages });
        return;
      }
      if (plan.stages.length === 0) {
        print(nothingToDo(event, guest));
        return;
      }
      plan.stages.flat().forEach((step, index) => print(`${index + 1}. ${renderStep(step)}`));
    });
}

/** A start with nothing to do is the answer to "why is my guest not encrypted". */
function nothingToDo(event: EventName, guest: Guest): string {
  switch (event) {
    case "pre-start":
      return `nothing to do: nobody asks for encryption of guest ${printable(guest.name)}`;
    case "pre-migrate":
    case "post-stop":
      return "nothing to do";
  }
}

function asIfFired(event: EventName, guest: Guest): LifecycleEvent {
  switch (event) {
    case "pre-start":
      return { event, cause: "start", guest };
    case "pre-migrate":
      return { event, cause: "migrate", guest };
    case "post-stop":
      return { event, cause: "stop", guest };
  }
}
