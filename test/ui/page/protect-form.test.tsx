import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, it } from "vitest";
import { UiApi } from "../../../src/ui/api/ui-api.js";
import type { Guest } from "../../../src/ui/page/guests/guest.js";
import { ProtectForm } from "../../../src/ui/page/guests/protect-form.js";
import type { ProtectChoice } from "../../../src/ui/page/guests/protect-job.js";

const nothing = () => undefined;
const api = new UiApi({ run: () => Promise.reject(new Error("nothing is asked before it is shown")) });
const guest: Guest = {
  ...{ id: "a1", name: "web1", running: false, dataPlaces: [] },
  disks: [
    {
      ...{ device: "vda", type: "file", volume: "/images/web1.img", askedBy: [] },
      ...{ protection: "plain", verdict: "plain" },
    },
  ],
};
const form = (choice?: ProtectChoice) =>
  renderToStaticMarkup(
    <ProtectForm
      {...{ api, guest, choice, isLooking: false, failure: undefined }}
      onLook={nothing}
      onCancel={nothing}
    />,
  );
/** The ids of the radio buttons that are chosen. */
const chosen = (markup: string) =>
  [...markup.matchAll(/<input\b[^>]*type="radio"[^>]*>/g)]
    .map(([input]) => input)
    .filter((input) => input.includes('checked=""'))
    .map((input) => /\bid="([^"]*)"/.exec(input)?.[1]);

describe("the choice of what is on the disks", () => {
  it("says what each way asks for, and what becomes of the old volume", () => {
    const text = form();
    for (const words of [
      "They hold data: copy and encrypt",
      "The guest may run.",
      "as much free space as the disk",
      "kept until luksmith purge removes it",
      "They are new and empty",
      "The guest must be shut off",
    ])
      expect(text).toContain(words);
  });

  it("takes a plain disk for one that holds data", () => {
    expect(chosen(form())).toEqual(["luksmith-protect-convert"]);
  });

  it("is what it was for who comes back", () => {
    expect(chosen(form({ guest: "a1", disks: ["vda"], content: "empty" }))).toEqual([
      "luksmith-protect-empty",
    ]);
  });
});
