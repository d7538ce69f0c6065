import type { LuksPiece } from "../../src/encryption/luks-image.js";
import type { StorageBackend } from "../../src/storage/storage-backend.js";

/** Ends the work before or after its n-th effect, as kill -9 would: everything afterwards fails as well. */
export class Killer {
  effects = 0;

  constructor(private readonly at = Infinity) {}

  /** These methods are effects. */
  wrap<T extends object>(target: T, methods: readonly (keyof T)[]): T {
    return new Proxy(target, {
      get: (object, property) => {
        const value: unknown = Reflect.get(object, property, object);
        if (typeof value !== "function") return value;
        const method = value.bind(object) as (...args: unknown[]) => unknown;
        if (!methods.includes(property as keyof T)) return method;
        return (...args: unknown[]) => {
          this.effect();
          const result = method(...args);
          if (result instanceof Promise)
            return result.then((answer: unknown) => {
              this.effect();
              return answer;
            });
          this.effect();
          return result;
        };
      },
    });
  }

  /** Every piece that is written to a header is an effect. */
  wrapBackend(backend: StorageBackend): StorageBackend {
    return new Proxy(backend, {
      get: (object, property) => {
        if (property === "changeHeader") {
          const changeHeader: StorageBackend["changeHeader"] = async (volume, length, change) => {
            const lost: LuksPiece[] = [];
            await object.changeHeader(volume, length, async (header) => {
              const pieces = await change(header);
              const written: LuksPiece[] = [];
              for (const piece of pieces) {
                if (this.#dies()) {
                  lost.push(piece);
                  break;
                }
                written.push(piece);
              }
              return written;
            });
            if (lost.length > 0) throw new Error("killed");
          };
          return changeHeader;
        }
        const value: unknown = Reflect.get(object, property, object);
        return typeof value === "function" ? (value.bind(object) as unknown) : value;
      },
    });
  }

  effect(): void {
    if (this.#dies()) throw new Error("killed");
  }

  #dies(): boolean {
    return ++this.effects >= this.at;
  }
}
