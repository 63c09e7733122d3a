-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE FUNCTION widget_count() RETURNS bigint
LANGUAGE sql STABLE
AS 'SELECT count(*) FROM widgets';

INSERT INTO widgets (name) VALUES ('sprocket');
