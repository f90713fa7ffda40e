title-transfer = { $file } 不可送往 { $place }
title-open = { $program } 不可開啟 { $file }

why-ceiling = 此檔案以「{ $tier }」解析度呈現 { $master }；{ $place } 最多只能接收「{ $ceiling }」。
why-nothing = 此檔案源自 { $master }，而由原始掃描檔製成的任何檔案都不可送往 { $place }。
why-vault = 「{ $collection }」的原始掃描檔只允許少數程式開啟，{ $program } 不在其中。
why-area = 加上此檔案，送往 { $place } 的 { $master } 面積將超過允許的比例。
why-objects = 加上此檔案，今天送往 { $place } 的物件數將超過允許的數目。
why-reason = 送往 { $place } 必須提供理由並留下紀錄，但尚未提供。
why-approval = 送往 { $place } 的理由必須先經另一人核准。
why-other = 依政策規定。
why-audit = 目前僅作紀錄：此操作已完成。

do-smaller = 請先在這台工作站另存一份{ $limits }的副本，再複製該副本。
do-export = 或交由 Vitrine 處理： { $command }
limit-megapixels = 不超過 { $megapixels } 百萬像素
limit-scale = 寬度不超過原始檔的 { $percent } %
limit-depth = 每色版不超過 { $bits } 位元
limit-separator = 、
do-justify = 請說明必須送往該處的理由，然後再試一次：vitrine justify { $id } "理由"
do-approval = 請說明必須送往該處的理由，由另一人決定：vitrine justify { $id } "理由"
do-ask = 請向 Vitrine 的管理人員詢問 { $place } 是否可以接收。
do-ask-vault = 請使用允許的程式開啟，或向 Vitrine 的管理人員詢問。
do-tomorrow = 請明天再試，或向 Vitrine 的管理人員詢問。

and-more =
    { $count ->
       *[other] { $title }（另有 { $count } 件）
    }

label-file = 檔案
label-master = 原始檔
label-program = 程式
label-target = 送往
label-why = 原因
label-do = 建議
label-record = 紀錄
label-id = 識別碼
none = 自代理程式開始記錄以來，您的操作沒有任何被拒絕。
none-of-file = 您對 { $file } 的操作沒有任何被拒絕。

given = { $file } 可在 { $minutes } 分鐘內送往 { $place }。您的理由已記錄為 { $id }。

asked = { $file } 要在 { $minutes } 分鐘內送往 { $place }，須經另一人核准。您的理由已記錄為 { $id }。
title-approved = { $file } 可送往 { $place }
approval-asking = 已請求核准，但收集器尚未收到；在此之前不可送往該處。將持續嘗試到 { $time }。
approval-pending = 已請求核准。有人答覆時，桌面與 vitrine why 會通知您。若到 { $time } 仍無人答覆，請再次請求。
approval-approved = { $by } 已核准：請在 { $time } 之前再試一次。
approval-denied = { $by } 未核准。
approval-expired = 無人及時答覆。
approval-failed = 無法取得核准：{ $note }
approval-note = 備註：{ $note }
