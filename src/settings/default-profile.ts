/** The profile for whoever asks for none; references.ts makes sure that it exists. */
export const DEFAULT_PROFILE = "default";
