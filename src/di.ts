import "reflect-metadata";
import { type DependencyContainer, inject as tsyringeInject } from "tsyringe";

/** A name for a port, carrying the port's type: `TOKEN<Keystore>`. */
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

export function registerValue<T>(container: DependencyContainer, port: Token<T>, value: T): void {
  container.register(port.symbol, { useValue: value });
}
