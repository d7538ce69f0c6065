import { Argument, Command } from "commander";
import type { Container } from "../di.js";
import { dispatch } from "../event/dispatch.js";
import { printable } from "../error/printable.js";
import validate from "../generated/validate-plan.cjs";
import { type ConfiguredGuest, EVENTS, type EventName, type Guest } from "../host/host-adapter.js";
import { renderStep } from "../plan/render.js";
import type { Plan } from "../plan/step.js";
import { HOST } from "../tokens.js";
import { open } from "./open.js";
import { print, printJson } from "./output.js";
import { planNextStart } from "./plan-next-start.js";

export function planCommand(): Command {
  return new Command("plan")
    .summary("show what an event would do now")
    .description("Shows what the hook would do if the host manager fired it now; changes nothing.")
    .addArgument(new Argument("<event>", "lifecycle event").choices(EVENTS))
    .argument("<guest>", "name, UUID or VMID")
    .option("--json", "for machines")
    .action(async (event: EventName, name: string, { json }: { json?: true }) => {
      const container = open();
      const guest = await container.resolve(HOST).readGuest(name);
      const plan = await planOfEvent(container, event, guest);
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

async function planOfEvent(container: Container, event: EventName, guest: ConfiguredGuest): Promise<Plan> {
  switch (event) {
    case "pre-start":
      return await planNextStart(container, guest);
    case "pre-migrate":
      return await dispatch(container, { event, cause: "migrate", guest }, "plan");
    case "post-stop":
      return await dispatch(container, { event, cause: "stop", guest }, "plan");
  }
}
