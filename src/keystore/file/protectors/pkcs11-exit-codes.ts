/** How the process that loads a token's library says what is wrong; 1 is an exception of Node's. */
export const TOKEN_EXIT_CODES = {
  failed: 20,
  noLibrary: 21,
  noModule: 22,
  noToken: 23,
  noKey: 24,
  pinRejected: 25,
  pinLocked: 26,
  loginFailed: 27,
  notRemembered: 28,
} as const;
