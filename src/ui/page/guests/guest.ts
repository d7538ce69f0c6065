import type { StatusOutput } from "../../../generated/status.js";

export type Guest = StatusOutput["guests"][number];
export type Disk = Guest["disks"][number];
export type DataPlace = Guest["dataPlaces"][number];
