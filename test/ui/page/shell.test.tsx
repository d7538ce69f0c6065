import type { ReactElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, it } from "vitest";
import { HomeError, type Transport } from "../../../src/ui/api/transport.js";
import { CommandProblem } from "../../../src/ui/api/ui-api.js";
import { FailureNotice } from "../../../src/ui/page/failure-notice.js";
import { sentence } from "../../../src/ui/page/problem-words.js";
import { ErrorBoundary } from "../../../src/ui/page/shell/error-boundary.js";
import { Header } from "../../../src/ui/page/shell/header.js";
import { hashOf, ROUTES, routeOf } from "../../../src/ui/page/shell/route.js";
import { SessionEnded } from "../../../src/ui/page/shell/session-ended.js";
import { followTheme, isDark } from "../../../src/ui/page/shell/theme.js";
import { watched } from "../../../src/ui/page/shell/watched.js";

const textOf = (element: ReactElement) =>
  renderToStaticMarkup(element)
    .replace(/<svg.*?<\/svg>/g, "")
    .replace(/<[^>]*>/g, " ");

describe("the address", () => {
  it("names each page, and guests where it names none", () => {
    for (const route of ROUTES) expect(routeOf(hashOf(route))).toBe(route);
    for (const other of ["", "#", "#/", "#/unknown", "#token=abc", "#/settings/x"])
      expect(routeOf(other)).toBe("guests");
  });
});

describe("the header", () => {
  it("says which page it is", () => {
    const markup = renderToStaticMarkup(<Header route="settings" />);
    expect(markup).toContain('<a href="#/settings" aria-current="page">Settings</a>');
    expect(markup).toContain('<a href="#/guests">Guests</a>');
  });
});

describe("the theme", () => {
  it.each([
    [null, false, false],
    [null, true, true],
    ["auto", true, true],
    ["auto", false, false],
    ["dark", false, true],
    ["light", true, false],
  ])("chosen %s, the system dark %s: dark %s", (chosen, system, dark) => {
    expect(isDark(chosen, system)).toBe(dark);
  });

  it("follows Cockpit and the system when they change", () => {
    const classes = new Set<string>();
    let [chosen, isSystemDark] = ["auto", false];
    const system = Object.defineProperty(new EventTarget(), "matches", { get: () => isSystemDark });
    const page = Object.assign(new EventTarget(), {
      matchMedia: () => system,
      localStorage: { getItem: (name: string) => (name === "shell:style" ? chosen : null) },
      document: {
        documentElement: {
          classList: {
            toggle: (name: string, on: boolean) => (on ? classes.add(name) : classes.delete(name)),
          },
        },
      },
    });
    followTheme(page as object as Window);
    expect([...classes]).toEqual([]);
    chosen = "dark";
    page.dispatchEvent(new Event("cockpit-style"));
    expect([...classes]).toEqual(["pf-v6-theme-dark"]);
    chosen = "light";
    page.dispatchEvent(new Event("storage"));
    expect([...classes]).toEqual([]);
    [chosen, isSystemDark] = ["auto", true];
    system.dispatchEvent(new Event("change"));
    expect([...classes]).toEqual(["pf-v6-theme-dark"]);
  });
});

describe("a page that fails", () => {
  it("is told, with what it said", () => {
    const boundary = new ErrorBoundary({ children: "the page" });
    expect(boundary.render()).toBe("the page");
    boundary.state = ErrorBoundary.getDerivedStateFromError(new Error("x is not a function"));
    const text = textOf(<>{boundary.render()}</>);
    expect(text).toContain("This page has failed");
    expect(text).toContain("x is not a function");
    expect(text).toContain("Load again");
  });
});

describe("a session that has ended", () => {
  const expired = new HomeError("expired", "The server has ended.");
  const ended = (error: Error): Transport => ({ run: () => Promise.reject(error) });

  it("is heard of, whoever finds it out, who hears it too", async () => {
    const heard: HomeError[] = [];
    const transport = watched(ended(expired), (error) => heard.push(error));
    await expect(transport.run({ command: "status" })).rejects.toBe(expired);
    expect(heard).toEqual([expired]);
  });

  it("is not what every failure is", async () => {
    const heard: HomeError[] = [];
    const away = new HomeError("unreachable", "Nobody answers.");
    await expect(watched(ended(away), (e) => heard.push(e)).run({ command: "status" })).rejects.toBe(away);
    expect(heard).toEqual([]);
  });

  it("leaves what else the transport can do", () => {
    const showGuest = () => undefined;
    const plain = ended(expired);
    const rich: Transport = { ...plain, showGuest, endsWithPage: true };
    expect(watched(rich, () => undefined)).toMatchObject({ showGuest, endsWithPage: true });
    expect(Object.keys(watched(plain, () => undefined))).toEqual(["run"]);
  });

  it("is told with how a new one begins", () => {
    const text = textOf(<SessionEnded error={expired} />);
    expect(text).toContain("The server has ended.");
    expect(text).toContain("luksmith ui");
  });
});

describe("a failure", () => {
  it("is told with what, why and what to do", () => {
    const problem = { code: "X", what: "cannot read", why: "it is away", hint: "start it" };
    const text = textOf(<FailureNotice error={new CommandProblem(problem)} />);
    for (const words of ["Cannot read.", "It is away.", "What to do: start it."])
      expect(text).toContain(words);
  });

  it.each([
    [new HomeError("unreachable", "Nobody answers."), "Nobody answers."],
    [new HomeError("expired", "It is over."), "run luksmith ui again"],
    [new HomeError("broken", "No answer."), "run the same luksmith command"],
    [new TypeError("x is undefined"), "X is undefined."],
    ["some text", "Some text."],
  ])("of %s is never empty", (error, words) => {
    expect(textOf(<FailureNotice error={error} />)).toContain(words);
  });

  it("offers to try again where that makes sense", () => {
    expect(textOf(<FailureNotice error="x" onRetry={() => undefined} />)).toContain("Try again");
    expect(textOf(<FailureNotice error="x" />)).not.toContain("Try again");
  });

  it("is a sentence", () => {
    expect([sentence("it is away"), sentence("Is it?")]).toEqual(["It is away.", "Is it?"]);
  });

  it.each(["http://127.0.0.1:1: nobody listens", "/etc/luksmith", "web1 is away", "vg0/a is full"])(
    "keeps the name that it begins with: %s",
    (words) => {
      expect(sentence(words)).toBe(`${words}.`);
    },
  );

  it("has an end once", () => {
    expect(sentence("it is away.")).toBe("It is away.");
  });
});
