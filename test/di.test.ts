import { beforeEach, describe, expect, test } from "vitest";
import { Container, inject, injectable, token } from "../src/di.js";

interface Greeter {
  greet(): string;
}
interface Counter {
  readonly count: number;
}

const GREETER = token<Greeter>("Greeter");
const COUNTER = token<Counter>("Counter");
const PAIR = token<Pair>("Pair");

@injectable()
class Pair {
  constructor(
    @inject(GREETER) readonly greeter: Greeter,
    @inject(COUNTER) readonly counter: Counter,
  ) {}
}

/** Never made: that these lines compile, and only so, is the test (`npm run types`). */
class WrongTokens {
  constructor(
    // @ts-expect-error a Counter is no Greeter
    @inject(COUNTER) readonly greeter: Greeter,
    // @ts-expect-error a Greeter is no Counter
    @inject(GREETER) readonly counter: Counter,
    // a port that does more than the parameter asks for
    @inject(PAIR) readonly wider: Pick<Pair, "greeter">,
  ) {}
}

let container: Container;
let made: number;

beforeEach(() => {
  made = 0;
  container = new Container()
    .value(GREETER, { greet: () => "hello" })
    .factory(COUNTER, () => ({ count: ++made }))
    .class(PAIR, Pair);
});

describe("the container", () => {
  test("gives a class what its parameters name", () => {
    const { greeter, counter } = container.resolve(PAIR);

    expect([greeter.greet(), counter.count]).toEqual(["hello", 1]);
  });

  test("makes everything once, and only when it is asked for", () => {
    expect(made).toBe(0);
    const pair = container.resolve(PAIR);

    expect(container.resolve(PAIR)).toBe(pair);
    expect(container.resolve(COUNTER)).toBe(pair.counter);
    expect(made).toBe(1);
  });

  test("makes a factory's thing once, also when it is undefined", () => {
    const NOTHING = token<undefined>("Nothing");
    container.factory(NOTHING, () => {
      made++;
      return undefined;
    });
    container.resolve(NOTHING);
    container.resolve(NOTHING);

    expect(made).toBe(1);
  });

  test("lets a factory ask for other ports", () => {
    const LOUD = token<string>("Loud");
    container.factory(LOUD, (c) => c.resolve(GREETER).greet().toUpperCase());

    expect(container.resolve(LOUD)).toBe("HELLO");
  });

  test("shares nothing with another container", () => {
    expect(() => new Container().resolve(GREETER)).toThrow("Greeter");
    expect(new Container().factory(COUNTER, () => ({ count: 7 })).resolve(COUNTER).count).toBe(7);
  });

  test("tells two tokens of one name apart", () => {
    const other = token<Greeter>("Greeter");

    expect(() => container.resolve(other)).toThrow("Greeter");
  });
});

test("a wrong token does not compile", () => {
  // the compiler has checked WrongTokens; here it only must exist
  expect(WrongTokens).toHaveLength(3);
});

test("a wrong value, class or factory does not compile", () => {
  // @ts-expect-error no Greeter
  container.value(GREETER, { count: 1 });
  // @ts-expect-error no Greeter
  container.class(GREETER, Pair);
  // @ts-expect-error no Greeter
  container.factory(GREETER, () => ({ count: 1 }));
  const resolved: Counter = container.resolve(COUNTER);

  expect(resolved.count).toBe(1);
});
