import "reflect-metadata";
import { container as root, type DependencyContainer, inject as tsyringeInject } from "tsyringe";

export { injectable } from "tsyringe";

/** A name for a port, carrying the port's type: `Token<Keystore>`. */
export interface Token<T> {
  readonly symbol: symbol;
  /** Never set; it keeps the type. */
  readonly type?: T;
}

export function token<T>(name: string): Token<T> {
  return { symbol: Symbol(name) };
}

/**
 * `@inject(TOKEN) port: Port` for constructor parameters. tsyringe's own does not compare the token with the
 * parameter; with this one a wrong token does not compile.
 */
export function inject<T>(port: Token<T>) {
  return <Index extends number, Parameters extends unknown[]>(
    target: new (...parameters: Parameters) => unknown,
    _member: undefined,
    index: T extends Parameters[Index] ? Index : never,
  ): void => {
    (tsyringeInject(port.symbol) as ParameterDecorator)(target, undefined, index);
  };
}

/** tsyringe's container behind typed tokens. Everything is made once, when it is first asked for. */
export class Container {
  readonly #container: DependencyContainer = root.createChildContainer();

  /** A ready-made thing. */
  value<T>(port: Token<T>, value: T): this {
    this.#container.register(port.symbol, { useValue: value });
    return this;
  }

  /** A class whose constructor parameters carry `@inject`. */
  class<T>(port: Token<T>, implementation: new (...parameters: never[]) => T): this {
    this.#container.registerSingleton(port.symbol, implementation as new (...parameters: unknown[]) => T);
    return this;
  }

  /** Something that is built from other ports. */
  factory<T>(port: Token<T>, make: (container: Container) => T): this {
    let made: { readonly value: T } | undefined;
    this.#container.register(port.symbol, { useFactory: () => (made ??= { value: make(this) }).value });
    return this;
  }

  resolve<T>(port: Token<T>): T {
    return this.#container.resolve<T>(port.symbol);
  }
}
