import { storageBackendContract } from "../../contract/storage-backend.contract.js";
import { DeviceWorkshop } from "../device-workshop.js";

storageBackendContract("block", () => new DeviceWorkshop(), {
  allocates: "only-uses",
  formats: ["luks", "luksv2"],
});
