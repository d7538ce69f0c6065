import { HomeError, type Transport } from "../../api/transport.js";

/** The same transport; `onExpired` hears when its session has ended, whichever page finds that out. */
export function watched(transport: Transport, onExpired: (error: HomeError) => void): Transport {
  return {
    async run(request, options) {
      try {
        return await transport.run(request, options);
      } catch (error) {
        if (error instanceof HomeError && error.reason === "expired") onExpired(error);
        throw error;
      }
    },
    ...(transport.showGuest && { showGuest: transport.showGuest }),
    ...(transport.endsWithPage && { endsWithPage: transport.endsWithPage }),
  };
}
