import {
  type Command,
  type CommandResult,
  type CommandRunner,
  ExecaCommandRunner,
  type HeldCommand,
  type HeldProcess,
} from "../../src/exec/command-runner.js";

/** Writes down every command and then runs it for real, or does what `before` does in the moment before it. */
export class RecordingCommandRunner implements CommandRunner {
  readonly commands: Command[] = [];
  /** What was started to be held, also after its end. */
  readonly held: HeldProcess[] = [];
  /** May change the world before a command runs: a race, made certain. */
  before: (command: Command) => void | Promise<void> = () => undefined;

  constructor(private readonly inner: CommandRunner = new ExecaCommandRunner()) {}

  async run(command: Command): Promise<CommandResult> {
    this.commands.push(command);
    await this.before(command);
    return await this.inner.run(command);
  }

  async hold(command: HeldCommand): ReturnType<CommandRunner["hold"]> {
    this.commands.push(command);
    await this.before(command);
    const holder = await this.inner.hold(command);
    if (holder.kind === "held") this.held.push(holder);
    return holder;
  }

  /** The commands as a person would type them. */
  get lines(): string[] {
    return this.commands.map(({ tool, args }) => [tool, ...args].join(" "));
  }

  /** How many commands began with `words`. */
  count(words: string): number {
    return this.lines.filter((line) => line.startsWith(words)).length;
  }
}
