import { storageBackendContract } from "../contract/storage-backend.contract.js";
import { Workshop } from "./workshop.js";

storageBackendContract("raw", () => new Workshop("raw"));
